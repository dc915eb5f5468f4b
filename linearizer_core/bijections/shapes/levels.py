"""How often an image is squeezed."""

from __future__ import annotations

import math

from linearizer_core.bijections.base import Shape
from linearizer_core.errors import ConfigError

_SMALLEST_SIDE = 8


def squeeze_levels(in_shape: Shape, levels: int | None = None) -> int:
    """Number of squeezes of a backbone: ``levels`` where the shape allows it; by default until a side is at most 8 or odd, and at least once if it can be.

    Arguments:
        in_shape: ``(C, H, W)``; any other shape cannot be squeezed.
        levels: what the user asked for, or None.

    Raises:
        ConfigError: when the shape cannot be halved that often.

    Example:
        >>> squeeze_levels((1, 28, 28)), squeeze_levels((3, 64, 64)), squeeze_levels((3, 7, 5)), squeeze_levels((10,))
        (2, 3, 0, 0)
    """
    if len(in_shape) != 3:
        if levels:
            raise ConfigError(f"levels = {levels} for shape {in_shape}: only images (C, H, W) can be squeezed; give levels = 0")
        return 0
    _, height, width = in_shape
    common = math.gcd(height, width)
    halvings = (common & -common).bit_length() - 1
    if levels is None:
        return next((level for level in range(1, halvings) if min(height, width) >> level <= _SMALLEST_SIDE), halvings)
    if levels > halvings:
        raise ConfigError(
            f"levels = {levels}: each level halves both sides, and {height}x{width} allows at most {halvings}; give levels = {halvings}, or pad the images"
        )
    return levels
