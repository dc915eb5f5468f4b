"""Space into channels, a patch of any size at a time."""

from __future__ import annotations

from typing import final

from torch import Tensor

from linearizer_core.bijections.base import Shape, VolumePreserving
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


@final
class PatchSqueeze(VolumePreserving):
    r"""Each patch of p x q pixels becomes one position with all its pixels as channels, ``(C, H, W)`` to ``(pqC, H/p, W/q)``. Exact to the bit.

    Channels come pixel by pixel, row after row of the patch: the C values of its upper left pixel first. With p = q = 2 it is `PixelSqueeze`.

    Arguments:
        in_shape: ``(C, H, W)``.
        patch: ``(p, q)``, divisors of H and W.

    Raises:
        BijectionError: when the shape is no image, or patches do not tile it.

    Example:
        >>> import torch
        >>> x = torch.arange(6.0).reshape(1, 1, 2, 3)
        >>> PatchSqueeze((1, 2, 3), patch=(2, 1))(x)[0, :, 0].tolist()
        [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    """

    bit_exact = True

    def __init__(self, in_shape: Shape, *, patch: tuple[int, int]) -> None:
        if len(in_shape) != 3:
            raise BijectionError(f"PatchSqueeze of shape {tuple(in_shape)}: expected an image (C, H, W)")
        (channels, height, width), (rows, columns) = in_shape, patch
        if height % rows or width % columns:
            raise BijectionError(f"PatchSqueeze: patches of {rows}x{columns} do not tile {height}x{width}; choose divisors, or pad the image")
        super().__init__(in_shape, (rows * columns * channels, height // rows, width // columns))
        self.patch = patch

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        (_, height, width), (rows, columns) = self.out_shape, self.patch
        patches = x.reshape(len(x), self.in_shape[0], height, rows, width, columns)
        return patches.permute(0, 3, 5, 1, 2, 4).reshape(len(x), *self.out_shape)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        (_, height, width), (rows, columns) = self.out_shape, self.patch
        patches = z.reshape(len(z), rows, columns, self.in_shape[0], height, width)
        return patches.permute(0, 3, 4, 1, 5, 2).reshape(len(z), *self.in_shape)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, patch={self.patch}"
