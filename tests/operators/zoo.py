"""One small operator of every kind, from a seed: what the laws are tested on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from linearizer_core.operators import (
    Convolution,
    DecayRotation,
    Dense,
    Diagonal,
    IdentityPlusLowRank,
    LinearOperator,
    LowRank,
    Mask,
    Product,
    RotatedDiagonal,
    ScaledIdentity,
    SharedSubspace,
    Sum,
)

Maker = Callable[[int, int, torch.Generator, torch.dtype], LinearOperator]


def normal(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _scaled_identity(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return ScaledIdentity(float(normal(g)), n, dtype=dtype)


def _diagonal(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Diagonal(normal(g, n, dtype=dtype))


def _decay_rotation(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    pairs = n // 2 if n < 5 else 2
    return DecayRotation(normal(g, pairs, dtype=dtype), normal(g, pairs, dtype=dtype), normal(g, n - 2 * pairs, dtype=dtype))


def _mask(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Mask(normal(g, n) > 0, dtype=dtype)


def _rotated_diagonal(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return RotatedDiagonal(normal(g, 3, n, dtype=dtype), normal(g, n, dtype=dtype))


def _dense(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Dense(normal(g, m, n, dtype=dtype))


def _low_rank(columns: int) -> Maker:
    return lambda m, n, g, dtype: LowRank(normal(g, m, columns, dtype=dtype), normal(g, n, columns, dtype=dtype))


def _identity_plus_low_rank(columns: int) -> Maker:
    return lambda m, n, g, dtype: IdentityPlusLowRank(float(normal(g)), normal(g, n, columns, dtype=dtype), normal(g, n, columns, dtype=dtype))


def _shared_subspace(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return SharedSubspace(float(normal(g)), *(normal(g, *shape, dtype=dtype) for shape in ((n, 2), (2, 2), (n, 2))))


def _convolution(blocks: bool) -> Maker:
    """On a row of n / 2 places with two channels where n is even, else on n places with one; ``blocks``: depthwise."""

    def maker(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
        channels = 2 - n % 2
        groups, size = (channels, 1) if blocks else (1, channels)
        return Convolution(normal(g, groups, size, size, 1, n // channels, dtype=dtype), (1, n // channels))

    return maker


def _product(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Product(_dense(m, n, g, dtype), _diagonal(n, n, g, dtype), _identity_plus_low_rank(1)(n, n, g, dtype))


def _sum(m: int, n: int, g: torch.Generator, dtype: torch.dtype) -> LinearOperator:
    return Sum(Product(_dense(m, n, g, dtype), _diagonal(n, n, g, dtype)), _low_rank(1)(m, n, g, dtype))


SQUARE_MAKERS: dict[str, Maker] = {
    "scaled_identity": _scaled_identity,
    "decay_rotation": _decay_rotation,
    "diagonal": _diagonal,
    "mask": _mask,
    "rotated_diagonal": _rotated_diagonal,
    "identity_plus_low_rank": _identity_plus_low_rank(2),
    "identity_plus_nothing": _identity_plus_low_rank(0),
    "shared_subspace": _shared_subspace,
    "convolution": _convolution(blocks=False),
    "depthwise": _convolution(blocks=True),
}
RECTANGULAR_MAKERS: dict[str, Maker] = {"dense": _dense, "low_rank": _low_rank(2), "rank_zero": _low_rank(0), "product": _product, "sum": _sum}
MAKERS: dict[str, Maker] = SQUARE_MAKERS | RECTANGULAR_MAKERS


def make(name: str, m: int, n: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> LinearOperator:
    """An operator of the kind called ``name``: ``(m, n)`` where it may be rectangular, else ``(n, n)``."""
    return MAKERS[name](m if name in RECTANGULAR_MAKERS else n, n, generator, dtype)


def series_exponential(matrix: Tensor) -> Tensor:
    """exp by its power series: slow, and right for the small norms used here."""
    total = term = torch.eye(len(matrix), dtype=matrix.dtype)
    for k in range(1, 80):
        term = term @ matrix / k
        total = total + term
    return total


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest deviation over the largest entry (at least 1, so that zero operators compare absolutely)."""
    return (found - expected).abs().max().item() / max(1.0, expected.abs().max().item()) if expected.numel() else 0.0
