"""Space into channels: every 2x2 square of pixels becomes four channels."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.base import Shape, VolumePreserving, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


def squeezed_shape(in_shape: Shape) -> Shape:
    """``(4C, H/2, W/2)``.

    Raises:
        BijectionError: when ``in_shape`` is not ``(C, H, W)`` with even H and W.

    Example:
        >>> squeezed_shape((3, 8, 6))
        (12, 4, 3)
    """
    if len(in_shape) != 3:
        raise BijectionError(f"squeeze of shape {in_shape}: expected an image (C, H, W); use it before Flatten")
    channels, height, width = in_shape
    if height % 2 or width % 2:
        raise BijectionError(f"squeeze of shape {in_shape}: height and width must be even; pad the image, or squeeze fewer times")
    return (4 * channels, height // 2, width // 2)


@final
class HaarSqueeze(VolumePreserving):
    r"""The orthonormal Haar transform :math:`\tfrac12 (a \pm b \pm c \pm d)` of each 2x2 square, ``(C, H, W)`` to ``(4C, H/2, W/2)``.

    Channels come band by band: the C averages first, then the horizontal, vertical and diagonal differences.

    Arguments:
        in_shape: ``(C, H, W)`` with even H and W.

    Raises:
        BijectionError: for any other shape.

    Example:
        >>> import torch
        >>> HaarSqueeze((1, 2, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).flatten().tolist()
        [5.0, -1.0, -2.0, 0.0]
    """

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, squeezed_shape(tuple(in_shape)))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        with full_precision(x):
            return _haar(_to_channels(x))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        with full_precision(z):
            return _to_space(_haar(z))


@final
class PixelSqueeze(VolumePreserving):
    r"""Each 2x2 square becomes four channels as it is, ``(C, H, W)`` to ``(4C, H/2, W/2)``; Dinh et al., arXiv 1605.08803. Exact to the bit.

    Channels come corner by corner: the C upper left pixels first, then upper right, lower left and lower right.

    Arguments:
        in_shape: ``(C, H, W)`` with even H and W.

    Raises:
        BijectionError: for any other shape.

    Example:
        >>> import torch
        >>> PixelSqueeze((1, 2, 2))(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).flatten().tolist()
        [1.0, 2.0, 3.0, 4.0]
    """

    bit_exact = True

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, squeezed_shape(tuple(in_shape)))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return _to_channels(x)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return _to_space(z)


def _to_channels(x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    squares = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return squares.permute(0, 3, 5, 1, 2, 4).reshape(batch, 4 * channels, height // 2, width // 2)


def _to_space(z: Tensor) -> Tensor:
    batch, channels, height, width = z.shape
    corners = z.reshape(batch, 2, 2, channels // 4, height, width)
    return corners.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // 4, 2 * height, 2 * width)


def _haar(corners: Tensor) -> Tensor:
    """The 4x4 Haar matrix, symmetric and its own inverse, by sums alone: reduced-precision matrix products cannot touch it."""
    upper_left, upper_right, lower_left, lower_right = corners.chunk(4, 1)
    upper, upper_difference = upper_left + upper_right, upper_left - upper_right
    lower, lower_difference = lower_left + lower_right, lower_left - lower_right
    bands = [upper + lower, upper_difference + lower_difference, upper - lower, upper_difference - lower_difference]
    return 0.5 * torch.cat(bands, 1)
