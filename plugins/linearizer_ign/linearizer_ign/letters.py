"""Pictures of letters that no digit looks like: inputs from another world, drawn from a font that matplotlib brings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

ALPHABETS = "ΓΔΘΛΞΠΣΦΨΩαβγδεζθλμξπφψω" + "БГДЖЗИЛЦЧШЩЪЫЭЮЯбвджфцшыю"
"""Greek and Cyrillic letters, without those that look like Latin ones or like digits."""

_MARGIN = 0.15
_STRIDE = 5  # so that few letters are of both alphabets; no factor of their number, 49


def letters(shape: tuple[int, ...], n: int) -> Tensor:
    """``n`` images ``(n, C, H, W)`` in [0, 1] of bright letters on black, of both alphabets."""
    channels, height, width = shape
    drawn = [_draw(ALPHABETS[(_STRIDE * index) % len(ALPHABETS)], height, width) for index in range(n)]
    return torch.stack(drawn)[:, None].expand(n, channels, height, width).clone()


def _draw(letter: str, height: int, width: int) -> Tensor:
    # Drawn large and scaled down: strokes are then as soft as those of scanned digits.
    factor = 4
    size = (factor * width, factor * height)
    image = Image.new("L", size)
    font = ImageFont.truetype(_font(), round((1 - 2 * _MARGIN) * size[1]))
    ImageDraw.Draw(image).text((size[0] / 2, size[1] / 2), letter, fill=255, font=font, anchor="mm")
    small = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.asarray(small, dtype=np.float32).copy())
    return pixels / pixels.max()


@cache
def _font() -> Path:
    from matplotlib import get_data_path

    return Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
