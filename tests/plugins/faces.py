"""Pictures in the layout of CelebA: JPEG files of 178x218 pixels, the split and the attributes. No face is in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ATTRIBUTES = ("5_o_Clock_Shadow", "Male", "Smiling")


def picture(seed: int, width: int = 178, height: int = 218) -> Image.Image:
    """Smooth colours, as photographs have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def has(number: int) -> list[bool]:
    """Which attributes the picture of this number has: its binary digits."""
    return [bool(number >> bit & 1) for bit in range(len(ATTRIBUTES))]


def write_faces(root: Path, count: int = 40, *, csv: bool = False) -> Path:
    """``count`` pictures, the last fifth of them for testing, the fifth before that for validation."""
    (root / "img_align_celeba").mkdir(parents=True)
    names = [f"{number + 1:06d}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        picture(number).save(root / "img_align_celeba" / name, quality=90)
    parts = [max(0, number * 5 // count - 2) for number in range(count)]
    rows = [[1 if value else -1 for value in has(number)] for number in range(count)]
    comma = "," if csv else " "
    split = [f"{name}{comma}{part}" for name, part in zip(names, parts, strict=True)]
    attributes = [name + "".join(f"{comma}{value:2d}" for value in row) for name, row in zip(names, rows, strict=True)]
    if csv:
        split, attributes = ["image_id,partition", *split], [",".join(["image_id", *ATTRIBUTES]), *attributes]
    else:
        attributes = [str(count), " ".join(ATTRIBUTES) + " ", *attributes]
    end = "csv" if csv else "txt"
    (root / f"list_eval_partition.{end}").write_text("\n".join(split) + "\n")
    (root / f"list_attr_celeba.{end}").write_text("\n".join(attributes) + "\n")
    return root
