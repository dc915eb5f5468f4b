"""Images and films as files that a browser shows."""

from __future__ import annotations

import io
import math

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import ConfigError
from linearizer_core.figures.files import eight_bits
from linearizer_core.figures.images import is_image

_CRISP = 96
"""Images with sides up to so many pixels are enlarged to whole multiples, each pixel a square."""
_TILE = 128
_PAUSE = 90
_LAST_PAUSE = 700
"""Milliseconds of a frame, and of the last one."""


def png(image: Tensor) -> bytes:
    """One image ``(C, H, W)`` in [0, 1], as it is."""
    return _encoded(eight_bits(_checked(image[None])[0]))


def sheet(images: Tensor) -> bytes:
    """Images ``(N, C, H, W)`` in [0, 1] as one PNG file, in rows, small ones enlarged, with gaps that are transparent."""
    x = enlarged(_checked(images))
    count, _, height, width = x.shape
    columns = columns_of(count, 8)
    gap = max(2, width // 24)
    rows = math.ceil(count / columns)
    canvas = torch.zeros(4, rows * (height + gap) - gap, columns * (width + gap) - gap, dtype=torch.uint8)
    opaque = torch.cat([x.expand(-1, 3, -1, -1), torch.ones(count, 1, height, width)], dim=1)
    for number, image in enumerate(eight_bits(opaque)):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = image
    return _encoded(canvas)


def film(frames: Tensor) -> bytes:
    """Frames ``(T, C, H, W)`` in [0, 1] as an endless animated WebP file."""
    from PIL import Image

    pictures = [Image.fromarray(frame.permute(1, 2, 0).numpy()) for frame in eight_bits(_checked(frames).expand(-1, 3, -1, -1))]
    file = io.BytesIO()
    pauses = [_PAUSE] * (len(pictures) - 1) + [_LAST_PAUSE]
    pictures[0].save(
        file, format="webp", save_all=True, append_images=pictures[1:], duration=pauses, loop=0, lossless=max(frames.shape[-2:]) <= _CRISP, method=2
    )
    return file.getvalue()


def crisp(image: Tensor) -> bool:
    """Whether a browser should show each pixel as a square."""
    return max(image.shape[-2:]) <= _CRISP


def enlarged(images: Tensor) -> Tensor:
    """Small images, their pixels repeated until a side has about 128."""
    factor = max(1, round(_TILE / max(images.shape[-2:]))) if crisp(images) else 1
    return functional.interpolate(images, scale_factor=factor, mode="nearest") if factor > 1 else images


def columns_of(count: int, most: int) -> int:
    """How many of ``count`` images stand in a row of at most ``most``, so that rows are as full as can be."""
    if count <= most:
        return count
    return max(range(max(2, most // 2), most + 1), key=lambda columns: (-((-count) % columns), columns))


def _checked(images: Tensor) -> Tensor:
    if images.ndim != 4 or not len(images) or not is_image(tuple(images.shape[1:])):
        raise ConfigError(f"images of shape {tuple(images.shape)} cannot be shown; expected (N, 1, H, W) or (N, 3, H, W)")
    return images.detach().float().cpu().nan_to_num(0.0).clamp(0, 1)


def _encoded(pixels: Tensor) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()).save(file, format="png")
    return file.getvalue()
