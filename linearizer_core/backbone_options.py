"""What options of backbones have in common: how often to squeeze, sizes where none are given, norms that can be bounded. Torch-free."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

from linearizer_core.errors import ConfigError

NormName = Literal["affine", "actnorm", "none"]
"""What normalises the stream: a learned scale and shift, the same set from the first batch, or nothing."""

LARGEST_LOG_SCALE = 80.0
"""Largest bound on the log-scales of couplings that an option may give: e^80 and e^-80 are still numbers in float32."""

_SMALLEST_SIDE = 8
_LARGEST_MIXED_GRID = 64
_LARGEST_DENSE_DIM = 4096


class LevelSizes(TypedDict):
    """Sizes of the couplings of one resolution of an image."""

    couplings: int
    width: int
    token_mixing: bool


class DenseSizes(TypedDict):
    """Sizes of the couplings on a flat latent."""

    couplings: int
    width: int


def halvings(in_shape: tuple[int, ...]) -> int:
    """How often both sides of an image ``(C, H, W)`` can be halved; any other shape cannot.

    Example:
        >>> halvings((1, 28, 28)), halvings((3, 64, 48)), halvings((3, 7, 8)), halvings((64,))
        (2, 4, 0, 0)
    """
    if len(in_shape) != 3:
        return 0
    common = math.gcd(*in_shape[1:])
    return (common & -common).bit_length() - 1


def squeeze_levels(in_shape: tuple[int, ...], levels: int | None = None) -> int:
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
    largest = halvings(in_shape)
    if levels is None:
        return next((level for level in range(1, largest) if min(in_shape[1:]) >> level <= _SMALLEST_SIDE), largest)
    if levels <= largest:
        return levels
    if len(in_shape) != 3:
        raise ConfigError(f"levels = {levels} for shape {in_shape}: only images (C, H, W) can be squeezed; give levels = 0")
    _, height, width = in_shape
    raise ConfigError(
        f"levels = {levels}: each level halves both sides, and {height}x{width} allows at most {largest}; give levels = {largest}, or pad the images"
    )


def default_levels(in_shape: tuple[int, ...]) -> list[LevelSizes]:
    """For each squeeze of `squeeze_levels`, the sizes of couplings with convolutional conditioners: few and narrow at the finest level.

    From the second level on, where at most 64 positions are left, every position may see every other.

    Example:
        >>> default_levels((1, 28, 28))
        [{'couplings': 2, 'width': 32, 'token_mixing': False}, {'couplings': 4, 'width': 64, 'token_mixing': True}]
    """
    return [
        {
            "couplings": 2 if level == 1 else 4,
            "width": min(16 * 2**level, 128),
            "token_mixing": level > 1 and (in_shape[1] >> level) * (in_shape[2] >> level) <= _LARGEST_MIXED_GRID,
        }
        for level in range(1, squeeze_levels(in_shape) + 1)
    ]


def default_dense(in_shape: tuple[int, ...]) -> DenseSizes:
    """Sizes of couplings on the flat latent: eight up to 4,096 dimensions; none above, where they would outweigh all else, and none on a single number.

    Example:
        >>> default_dense((1, 28, 28)), default_dense((2,)), default_dense((3, 64, 64))["couplings"]
        ({'couplings': 8, 'width': 512}, {'couplings': 8, 'width': 128}, 0)
    """
    dim = math.prod(in_shape)
    return {"couplings": 8 if 1 < dim <= _LARGEST_DENSE_DIM else 0, "width": 512 if dim >= 128 else 128}


def check_norm_bound(norm: NormName, log_scale_bound: float | None, *, class_scale: bool = False) -> None:
    """For the validator of a configuration: refuse a bound on log-scales where nothing would keep it.

    Arguments:
        norm: what normalises the stream.
        log_scale_bound: bound on the log-scales of ``norm = "affine"`` and of scales per category, or None.
        class_scale: whether there are scales per category.

    Raises:
        ConfigError: for a bound with ``norm = "actnorm"``, whose scales come from data, or where there is no scale at all.

    Example:
        >>> check_norm_bound("affine", 0.1)
        >>> check_norm_bound("actnorm", 0.1)
        Traceback (most recent call last):
        linearizer_core.errors.ConfigError: norm_log_scale_bound = 0.1 with norm = 'actnorm', whose scales come from data; give norm = 'affine', or leave it out
    """
    if log_scale_bound is None:
        return
    if norm == "actnorm":
        raise ConfigError(f"norm_log_scale_bound = {log_scale_bound} with norm = 'actnorm', whose scales come from data; give norm = 'affine', or leave it out")
    if norm == "none" and not class_scale:
        raise ConfigError(f"norm_log_scale_bound = {log_scale_bound} with norm = 'none', which has no scales to bound; give norm = 'affine', or leave it out")
