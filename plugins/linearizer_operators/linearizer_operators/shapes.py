"""The shapes that these cores accept."""

from __future__ import annotations

from linearizer_core.errors import ShapeMismatchError


def square_dim(core: str, shape: tuple[int, int], rank: int = 1) -> int:
    """D of a square shape ``(D, D)`` with D >= ``rank``.

    Raises:
        ShapeMismatchError: for any other shape.
    """
    if shape[0] != shape[1] or shape[0] < rank:
        raise ShapeMismatchError(f"{core}: shape {shape}, expected (D, D) with D >= {rank}, the rank; lower the rank, or use one bijection on both sides")
    return shape[0]
