"""Flows on which the solvers are tested."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace
from linearizer_core.operators.flow import velocity_operator
from tests.operators.zoo import normal, seeded, series_exponential

VelocityAt = Callable[[float], LinearOperator]

KINDS = (
    "dense", "low_rank", "identity_plus_low_rank", "shared_subspace", "singular_subspace", "changing_subspace", "diagonal", "mask", "scaled_identity",
    "sum", "changing_kind",
)  # fmt: skip


def end_point_flow(kind: str, dim: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> VelocityAt:
    """The velocity of a smooth family A_t of the given kind."""
    g = seeded(seed)
    left, other_left, right = (torch.linalg.qr(normal(g, dim, 2)).Q.to(dtype) for _ in range(3))
    core, other_core = normal(g, 2, 2, dtype=dtype) / 3, normal(g, 2, 2, dtype=dtype) / 3
    matrix, other_matrix = normal(g, dim, dim, dtype=dtype) / dim, normal(g, dim, dim, dtype=dtype) / dim
    orthogonal = other_left - left @ (left.T @ other_left)

    def at(t: float) -> LinearOperator:
        match kind:
            case "dense":
                return Dense(math.cos(t) * matrix + math.sin(2 * t) * other_matrix)
            case "low_rank":
                return LowRank(math.cos(t) * left + math.sin(t) * other_left, math.cos(t) * right + math.sin(2 * t) * left)
            case "identity_plus_low_rank":
                return IdentityPlusLowRank(0.2 * t, math.cos(t) * left + math.sin(t) * other_left, right)
            case "shared_subspace":
                return SharedSubspace(0.3 * t, left, math.cos(t) * core + math.sin(3 * t) * other_core, right)
            case "singular_subspace":  # V^T U = 0, so that V^T z does not tell what happens to z
                return SharedSubspace(0.3 * t, left, math.cos(t) * core + math.sin(3 * t) * other_core, orthogonal)
            case "changing_subspace":
                return SharedSubspace(0.3 * t, left if t < 0.4 else other_left, core, right)
            case "diagonal":
                return Diagonal(torch.linspace(0, 1, dim, dtype=dtype) * t)
            case "mask":
                return Mask(torch.arange(dim) < 2, dtype=dtype)
            case "scaled_identity":
                return ScaledIdentity(math.cos(t), dim, dtype=dtype)
            case "sum":
                return Diagonal(torch.linspace(0, 1, dim, dtype=dtype) * t) + LowRank(math.cos(t) * left, right)
            case _:
                return Mask(torch.arange(dim) < 2, dtype=dtype) if t < 0.4 else LowRank(math.cos(t) * left, right)

    return lambda t: velocity_operator(at(t), t)


def moving_frame(dtype: torch.dtype = torch.float64) -> tuple[VelocityAt, Tensor]:
    """L = X + e^{tX} Y e^{-tX}, whose propagator from 0 to 1 is exactly e^X e^Y; X and Y do not commute."""
    g = seeded(2)
    x, y = normal(g, 4, 4) / 2, normal(g, 4, 4) / 2

    def velocity(t: float) -> LinearOperator:
        return Dense(x + series_exponential(t * x) @ y @ series_exponential(-t * x))

    return velocity, series_exponential(x) @ series_exponential(y)


def wave(seed: int, dim: int, size: float = 2.0, frequency: float = 3.0) -> Callable[[float], Tensor]:
    """A random matrix that varies smoothly with t, of norm ``size`` or so."""
    g = seeded(seed)
    constant, cosine, sine = (size * normal(g, dim, dim) / (3 * dim**0.5) for _ in range(3))
    return lambda t: constant + math.cos(frequency * t) * cosine + math.sin(frequency * t) * sine
