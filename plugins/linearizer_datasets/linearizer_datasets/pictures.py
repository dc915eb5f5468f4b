"""Single pictures in files, decoded, cropped and scaled. Imports no torch: the processes that prepare many pictures start at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from linearizer_core.errors import DataError

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def list_pictures(root: Path) -> list[str]:
    """The pictures below a folder as paths relative to it, with ``/`` between their parts; sorted part by part.

    Raises:
        DataError: when there is no such folder.
    """
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give the folder with the pictures")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
    return [path.relative_to(root).as_posix() for path in files]


def read_pixels(path: Path, size: int, channels: int, crop: int | None = None) -> np.ndarray:
    """One picture as uint8 ``(size, size, channels)``: upright, on white, cropped around its centre, scaled by an antialiased bicubic filter.

    With ``crop``, a square of that many pixels is cut out first and then scaled, and nothing outside it is seen: the top left corner of the square is
    ``((W - crop) // 2, (H - crop) // 2)``. Without, the square is as large as the picture allows.

    Raises:
        DataError: when the file is not a picture that Pillow can decode, is truncated, or is smaller than the crop.
    """
    from PIL import Image, ImageOps

    picture = _decode(path).convert("RGB" if channels == 3 else "L")
    if crop is None:
        fitted = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    else:
        left, top = (picture.width - crop) // 2, (picture.height - crop) // 2
        if min(left, top) < 0:
            raise DataError(f"{path} has {picture.width} x {picture.height} pixels, expected at least {crop} x {crop}; lower the crop, or remove the picture")
        fitted = picture.crop((left, top, left + crop, top + crop)).resize((size, size), Image.Resampling.BICUBIC)
    return np.array(fitted).reshape(size, size, channels)


def read_many(paths: list[Path], size: int, channels: int, crop: int | None) -> tuple[np.ndarray, list[str]]:
    """Pictures as uint8 ``(N, size, size, channels)``, and what is wrong with those that cannot be used, one message each; their rows are black."""
    pixels, problems = np.zeros((len(paths), size, size, channels), dtype=np.uint8), []
    for row, path in enumerate(paths):
        try:
            pixels[row] = read_pixels(path, size, channels, crop)
        except DataError as error:
            problems.append(str(error))
    return pixels, problems


def _decode(path: Path) -> Any:
    """A picture of Pillow without transparency: RGB, L, or a mode that converts to both."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            if upright.mode in ("RGB", "L") and "transparency" not in upright.info:
                return upright
            # Pillow clips 16-bit grey at 255 instead of scaling it.
            picture = (upright.point(lambda value: value / 257).convert("L") if upright.mode.startswith("I") else upright).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); remove or replace it") from error
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
