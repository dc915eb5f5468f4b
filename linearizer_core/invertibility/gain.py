"""The largest singular values of the Jacobians of g and g^-1: how much errors grow on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.invertibility.derivatives import gradients
from linearizer_core.invertibility.examples import require_examples

_ADJOINT_TOLERANCE = 1e-2
Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Gain:
    """Gains at single examples, each of shape ``(B,)``, in float64 on the CPU.

    Attributes:
        forward: the largest singular value of the Jacobian of g at x.
        inverse: the largest singular value of the Jacobian of g^-1 at g(x); NaN where g^-1 has no gradient.
    """

    forward: Tensor
    inverse: Tensor

    @property
    def maximum(self) -> float:
        """The largest gain of all examples, in the worse direction; NaN counts as infinite."""
        return float(torch.cat([self.forward, self.inverse]).nan_to_num(torch.inf).max())


def gain(g: Bijection, x: Tensor, condition: Condition | None = None, *, iterations: int = 20) -> Gain:
    r"""The spectral norms :math:`\|J_g(x)\|` and :math:`\|J_{g^{-1}}(g(x))\|` of every example, by power iteration on :math:`J^\top J`.

    An error of size e in the latent comes back as one of up to :math:`e\, \|J_{g^{-1}}\|` in the data. Power iteration approaches from below: more
    iterations, a sharper bound. :math:`J^\top u` is a backward pass; :math:`J v` is the backward pass of the backward pass, and where a custom
    autograd function does not offer that, a central difference. Where g rounds with straight-through gradients, it is the gain of what it rounds.
    All of it runs in the precision of ``x``, outside autocast: rounding to bfloat16 has no derivative, and differences would see little else.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``; examples must not see each other.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.
        iterations: steps of the power iteration.

    Raises:
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine
        >>> measured = gain(FixedAffine((2,), shift=0.0, scale=(4.0, 0.5)), torch.zeros(1, 2))
        >>> round(measured.forward.item(), 4), round(measured.inverse.item(), 4)
        (4.0, 2.0)
    """
    return Gain(forward_gain(g, x, condition, iterations=iterations), inverse_gain(g, x, condition, iterations=iterations))


def forward_gain(g: Bijection, x: Tensor, condition: Condition | None, *, iterations: int) -> Tensor:
    """`Gain.forward` alone."""
    require_examples("gain", x)
    return spectral_norm(lambda data: g(data, condition), x, iterations=iterations)


def inverse_gain(g: Bijection, x: Tensor, condition: Condition | None, *, iterations: int) -> Tensor:
    """`Gain.inverse` alone."""
    require_examples("gain", x)
    if g.inverse_grad == "none":
        return torch.full((len(x),), torch.nan, dtype=torch.float64)
    with torch.no_grad(), full_precision(x):
        z = g(x, condition)
    return spectral_norm(lambda latent: g.inverse(latent, condition), z, iterations=iterations)


def spectral_norm(function: Map, x: Tensor, *, iterations: int) -> Tensor:
    """The spectral norm of the Jacobian of ``function`` at every example of ``x``, ``(B,)`` in float64 on the CPU, from below. See `gain`."""
    # Its own generator: training that is watched draws the same noise as training that is not.
    generator = torch.Generator().manual_seed(0)
    with torch.enable_grad(), full_precision(x):
        x = x.detach().requires_grad_()
        y = function(x)
        transposed, directional = _products(function, x, y, generator)
        v = unit(torch.randn(x.shape, generator=generator).to(x))
        norm = _norm(v)
        for _ in range(iterations):
            u = directional(v)
            norm = _norm(u)
            v = unit(transposed(unit(u)))
    return norm.detach().cpu()


def _products(function: Map, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Map, Map]:
    """The two maps u -> J^T u and v -> J v."""

    def transposed(u: Tensor) -> Tensor:
        return gradients(y, [x], u)[0]

    def difference(v: Tensor) -> Tensor:
        step = torch.finfo(x.dtype).eps ** (1 / 3) * x.detach().abs().max().clamp(min=1) * x[0].numel() ** 0.5
        with torch.no_grad():
            quotient: Tensor = (function(x + step * v) - function(x - step * v)) / (2 * step)
        return quotient

    dummy = torch.zeros_like(y, requires_grad=True)
    try:
        (linear,) = gradients(y, [x], dummy, keep_graph=True)

        def directional(v: Tensor) -> Tensor:
            return gradients(linear, [dummy], v)[0]

        # A custom function may cut the graph of its backward pass without a word; then the two maps are no adjoints.
        u, v = (unit(torch.randn(each.shape, generator=generator).to(each)) for each in (y, x))
        left, right = (u * directional(v)).flatten(1).sum(1), (transposed(u) * v).flatten(1).sum(1)
        size = _norm(transposed(u))
        trusted = bool(((left - right).abs() <= _ADJOINT_TOLERANCE * size).all())
    except RuntimeError:
        trusted = False
    return transposed, directional if trusted else difference


def unit(direction: Tensor) -> Tensor:
    """Every example scaled to norm 1; zero stays zero."""
    norm = _norm(direction).clamp(min=torch.finfo(torch.float64).tiny)
    return (direction.double() / norm.reshape(-1, *[1] * (direction.ndim - 1))).to(direction)


def _norm(direction: Tensor) -> Tensor:
    """In float64: squares of large and small gains leave the range of float32."""
    norm: Tensor = direction.flatten(1).double().norm(dim=1)
    return norm
