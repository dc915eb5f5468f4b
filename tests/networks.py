"""Real, nonlinear bijections in float64 for the tests of the mathematics."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_coupling.backbone import coupling_backbone
from linearizer_coupling.config import CouplingConfig, DenseConfig, LevelConfig

SHAPES: dict[str, tuple[int, ...]] = {"vector": (5,), "long vector": (7,), "image": (1, 4, 4)}


@cache
def network(kind: str, *, seed: int = 0, labels: int = 0) -> Bijection:
    """A coupling network whose weights have moved away from the initial ones, where it is linear."""
    conditions = {"label": labels} if labels else None
    levels = (LevelConfig(couplings=2, width=6, token_mixing=True),) if kind == "image" else ()
    config = CouplingConfig(levels=levels, dense=DenseConfig(couplings=4, width=10), seed=seed, class_scale=bool(labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bijection = coupling_backbone(SHAPES[kind], config, conditions).double().requires_grad_(False)
        for parameter in bijection.parameters():
            parameter += 0.15 * torch.randn_like(parameter)
    return bijection


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(kind: str, seed: int, count: int = 3) -> Tensor:
    return normal(seed, count, *SHAPES[kind])


def largest(value: Tensor, reference: Tensor) -> float:
    """The largest difference, relative to the largest entry of the reference where that is above 1."""
    assert value.shape == reference.shape
    return float((value - reference).detach().abs().max() / reference.detach().abs().max().clamp(min=1))
