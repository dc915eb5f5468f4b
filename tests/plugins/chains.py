"""What the tests of backbones have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Chain
from linearizer_core.condition import Condition


def kinds(bijections: Chain) -> list[str]:
    return [type(bijection).__name__ for bijection in bijections]


def count(g: Bijection, kind: type[Bijection]) -> int:
    """Bricks of a kind, those of nested chains included."""
    return sum(isinstance(module, kind) for module in g.modules())


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*values: int) -> Condition:
    return Condition(label=torch.tensor(values))


def perturbed(g: Chain, size: float) -> Chain:
    """Away from the initial weights, where every coupling is the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in g.parameters():
            parameter += size * torch.randn_like(parameter)
    return g


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max())


def jacobian(g: Bijection, x: Tensor, condition: Condition | None = None) -> Tensor:
    """Of a single example, ``(D, D)``."""
    return torch.autograd.functional.jacobian(lambda v: g(v, condition), x).reshape(g.dim, g.dim)


def log_volume(g: Bijection, x: Tensor, condition: Condition | None = None) -> float:
    """The log-determinant at a single example, by its Jacobian."""
    return float(torch.linalg.slogdet(jacobian(g, x, condition)).logabsdet)


def gains(g: Bijection, x: Tensor, condition: Condition | None = None) -> tuple[float, float]:
    """The largest gains at a single example, of g and of its inverse."""
    values = torch.linalg.svdvals(jacobian(g, x, condition))
    return float(values[0]), 1 / float(values[-1])


def additive_gain(lipschitz: float) -> float:
    """The largest gain, in both directions, of an additive coupling whose conditioner has this Lipschitz constant."""
    return float(lipschitz + (lipschitz**2 + 4) ** 0.5) / 2
