"""Single pictures in files: read from whatever Pillow decodes, and written."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from linearizer_core.errors import ConfigError, DataError
from linearizer_core.figures.images import is_image

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
LARGEST = 64_000_000
"""Pixels of the largest picture that is decoded."""


def read_picture(path: Path, side: int | None = None, formats: tuple[str, ...] | None = None) -> Tensor:
    """A picture as float32 ``(3, H, W)`` in [0, 1], upright as its EXIF entry says, transparent parts on white, 16 bits scaled, CMYK and palettes converted.

    Arguments:
        path: a file that Pillow can decode.
        side: the picture is scaled so that its shorter side has so many pixels; as it is when none.
        formats: names of the formats, as Pillow has them, that may be decoded, whatever the file is called; all that Pillow knows when none.

    Raises:
        DataError: when the file is missing, cannot be decoded, is of no format that may be, or holds more than `LARGEST` pixels.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is lower, and is an error
            with Image.open(path, formats=formats) as opened:
                if opened.width * opened.height > LARGEST:
                    raise DataError(f"{path} has {opened.width} x {opened.height} pixels, expected at most {LARGEST:,} in all; scale it down first")
                upright = ImageOps.exif_transpose(opened)
                # Pillow clips 16-bit grey at 255 instead of scaling it.
                eight = upright.point(lambda value: value / 257).convert("L") if upright.mode.startswith("I") else upright
                picture = eight.convert("RGB" if eight.mode == "CMYK" else "RGBA").convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as a picture ({error}); give a file that Pillow decodes, such as PNG or JPEG") from error
    flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    if side is not None:
        factor = side / min(flat.size)
        flat = flat.resize((round(flat.width * factor), round(flat.height * factor)), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(flat)).permute(2, 0, 1).float() / 255


def read_example(path: Path, shape: tuple[int, ...], side: int | None = None, formats: tuple[str, ...] | None = None) -> Tensor:
    """A picture as an example of the ``shape`` (C, H, W) of a model, float32 in [0, 1]: scaled and cropped around its centre; grey where C is 1.

    With ``side``, it is scaled by `read_picture` first: large pictures then take less memory. ``formats`` are those of `read_picture`.

    Raises:
        ConfigError: for a shape that is no image.
        DataError: as `read_picture` does.
    """
    from torchvision.transforms.functional import center_crop, resize, rgb_to_grayscale

    if not is_image(shape):
        raise ConfigError(f"{path} is a picture, the model takes examples of shape {shape}, which are no images of one or three channels")
    channels, height, width = shape
    picture = read_picture(path, side, formats)
    factor = max(height / picture.shape[1], width / picture.shape[2])
    scaled = resize(picture, [max(height, round(factor * picture.shape[1])), max(width, round(factor * picture.shape[2]))], antialias=True)
    cropped: Tensor = center_crop(scaled, [height, width])
    return rgb_to_grayscale(cropped).clamp(0, 1) if channels == 1 else cropped.clamp(0, 1)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())


def eight_bits(picture: Tensor) -> Tensor:
    """A picture in [0, 1] as uint8, rounded as a file would hold it."""
    return (picture * 255).round().byte()


def write_picture(picture: Tensor, path: Path) -> None:
    """Write ``(3, H, W)``, clipped to [0, 1], in the format of the ending of ``path``.

    Raises:
        DataError: for an ending that Pillow does not write, or a path that cannot be written.
    """
    from PIL import Image

    array = eight_bits(picture.detach().cpu().clamp(0, 1)).permute(1, 2, 0).numpy()
    try:
        Image.fromarray(array).save(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be written ({error}); give a file name that ends in .png or .jpg, in a folder that exists") from error
