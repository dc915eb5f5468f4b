"""What visitors hand over, made into tensors: picture files of bounded size, and drawings. Everything else is refused with a message for them."""

from __future__ import annotations

import base64
import binascii
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import ConfigError, DataError
from linearizer_core.figures.files import read_example, read_picture

LARGEST_FILE = 10 * 2**20
"""Bytes of the largest file."""
LARGEST_SIDE = 8192
LARGEST_AREA = 25_000_000
LONGEST = 8
"""How many times longer than wide a picture may be."""
WORKING_SIDE = 512
"""Pictures of any size are scaled down so that their shorter side has no more pixels than this."""
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_DATA_URL = "data:image/png;base64,"
_LARGEST_DRAWING = 2**20
_LARGEST_CANVAS = 2048
_SPAN = 2 / 3
_MISSED = 0.02


def read_upload(path: Path, shape: tuple[int, int, int] | None = None) -> tuple[Tensor, str]:
    """The picture in a file, float32 in [0, 1], and a note for the visitor where there is something to know, else "".

    Of an animation it is the first picture.

    Arguments:
        path: a PNG, JPEG, WebP, GIF, BMP or TIFF file, in any mode: CMYK, 16 bits, palettes and transparency are converted.
        shape: the shape ``(C, H, W)`` to scale and crop to; ``(3, H, W)`` of its own proportions when none.

    Raises:
        ConfigError: for a file that is gone, empty, too large, or no picture; for a picture that is too large, too small or too long.
    """
    width, height, note = _measure(path)
    side = min(width, height, WORKING_SIDE)
    try:
        return (read_picture(path, side, FORMATS) if shape is None else read_example(path, shape, side, FORMATS)), note
    except DataError as error:
        raise _unreadable() from error


def _measure(path: Path) -> tuple[int, int, str]:
    from PIL import Image

    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise ConfigError("this picture was deleted here after ten minutes; upload it again") from error
    if size == 0:
        raise ConfigError("this file is empty: it has 0 bytes; choose another one")
    if size > LARGEST_FILE:
        raise ConfigError(f"this file has {size / 2**20:.0f} MB, expected at most {LARGEST_FILE / 2**20:.0f}; scale the picture down first")
    try:
        with Image.open(path, formats=FORMATS) as opened:
            width, height = opened.size
            animated = opened.format != "MPO" and getattr(opened, "is_animated", False)
    except Image.DecompressionBombError as error:
        raise ConfigError(f"this picture has far too many pixels, expected at most {LARGEST_AREA / 1e6:.0f} million; scale it down first") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable() from error
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_AREA:
        limit = f"at most {LARGEST_SIDE:,} on a side and {LARGEST_AREA / 1e6:.0f} million in all"
        raise ConfigError(f"this picture has {width:,} x {height:,} pixels, expected {limit}; scale it down first")
    if min(width, height) < 2 or max(width, height) > LONGEST * min(width, height):
        raise ConfigError(f"this picture has {width:,} x {height:,} pixels, expected at most {LONGEST} times as long as wide; crop it first")
    return width, height, "This is an animation: its first picture is used." if animated else ""


def _unreadable() -> ConfigError:
    return ConfigError("this file cannot be read as a picture; choose a PNG, JPEG, WebP, GIF, BMP or TIFF file")


def read_drawing(given: Any, shape: tuple[int, int, int]) -> Tensor | None:
    """A drawing, as digits of MNIST are: bright on black, as large as they are, centred by its mass; None where nothing is drawn.

    Arguments:
        given: a PNG file as a data URL, or the path of a picture file; dark strokes on a light ground are inverted.
        shape: the shape ``(C, H, W)`` of the result.

    Raises:
        ConfigError: for what is no picture, or one that is too large.
    """
    if isinstance(given, Path):
        canvas = read_upload(given)[0].mean(0)
    else:
        canvas = _read_canvas(given)
    if canvas.median() > 0.5:
        canvas = 1 - canvas
    return _centred(canvas, shape)


def _read_canvas(given: Any) -> Tensor:
    from PIL import Image

    if not isinstance(given, str) or not given.startswith(_DATA_URL) or len(given) > _LARGEST_DRAWING:
        raise ConfigError("this is no drawing that we can read; clear the pad and draw again")
    try:
        with Image.open(io.BytesIO(base64.b64decode(given.removeprefix(_DATA_URL), validate=True)), formats=["PNG"]) as opened:
            size = opened.size
            canvas = np.array(opened.convert("L")) if max(size) <= _LARGEST_CANVAS else None
    except (OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError) as error:
        raise ConfigError("this is no drawing that we can read; clear the pad and draw again") from error
    if canvas is None:
        raise ConfigError(f"this drawing has {size[0]} x {size[1]} pixels, expected at most {_LARGEST_CANVAS} on a side; make it smaller")
    return torch.from_numpy(canvas).float() / 255


def _centred(canvas: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
    """Strokes ``(h, w)`` cut out, scaled to two thirds of the picture, and placed with their centre of mass in the middle."""
    rows, columns = (canvas > _MISSED).any(1).nonzero().flatten(), (canvas > _MISSED).any(0).nonzero().flatten()
    if not len(rows):
        return None
    strokes = canvas[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]
    channels, height, width = shape
    factor = _SPAN * min(height, width) / max(strokes.shape)
    size = [max(1, round(factor * side)) for side in strokes.shape]
    small = functional.interpolate(strokes[None, None], size=size, mode="bilinear", antialias=True, align_corners=False)[0, 0]
    small = (small / small.max()).clamp(0, 1)
    placed = torch.zeros(height, width)
    top, left = (_offset(small.sum(1 - axis), side) for axis, side in ((0, height), (1, width)))
    placed[top : top + size[0], left : left + size[1]] = small
    return placed.expand(channels, -1, -1).clone()


def _offset(profile: Tensor, side: int) -> int:
    """Where a profile of mass begins, so that its centre lies in the middle of ``side`` pixels, as far as there is room."""
    centre = float((profile * torch.arange(len(profile))).sum() / profile.sum())
    return min(max(math.floor((side - 1) / 2 - centre + 0.5), 0), side - len(profile))
