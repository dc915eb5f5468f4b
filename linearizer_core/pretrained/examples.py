"""A few test examples in one picture beside a saved model: what it was made for, at hand wherever the model is, and its data are not."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from linearizer_core.data import Batch
from linearizer_core.errors import ArtifactError
from linearizer_core.figures.files import eight_bits

EXAMPLES = "examples.png"
"""The name of the picture: examples in rows, without gaps, in 8 bits."""

_COLUMNS, _ROWS = 8, 5
_SEARCHED = 2000


def choose_examples(test: Dataset[Batch], classes: int) -> Tensor:
    """40 examples ``(40, C, H, W)`` of a split, as many of each class where there are classes; fewer where the split is small.

    They are the first ones of the split, in the order of their labels.
    """
    count = min(len(test), _SEARCHED)  # type: ignore[arg-type]
    items = [test[number] for number in range(count if classes else min(count, _COLUMNS * _ROWS))]
    if classes:
        room = -(-_COLUMNS * _ROWS // classes)
        by_class: dict[int, list[Batch]] = {}
        for item in items:
            by_class.setdefault(int(item["label"]), []).append(item)
        items = [item for label in sorted(by_class) for item in by_class[label][:room]]
    return torch.stack([item["x"] for item in items[: _COLUMNS * _ROWS]])


def draw_examples(x: Tensor) -> bytes:
    """Examples ``(N, C, H, W)`` in [0, 1], one or three channels, as a PNG file of full rows."""
    from PIL import Image

    columns = min(_COLUMNS, len(x))
    rows = len(x) // columns
    channels, height, width = x.shape[1:]
    tiles = x[: rows * columns].detach().cpu().clamp(0, 1).reshape(rows, columns, channels, height, width)
    sheet = eight_bits(tiles.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels))
    file = io.BytesIO()
    Image.fromarray(sheet.squeeze(-1).numpy()).save(file, format="png", optimize=True)
    return file.getvalue()


def cut_examples(sheet: bytes, shape: Sequence[int]) -> Tensor:
    """The examples ``(N, C, H, W)`` of a PNG file that `draw_examples` made; float32 in [0, 1].

    Raises:
        ArtifactError: for a picture whose sides are no multiples of those of an example.
    """
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(io.BytesIO(sheet), formats=["PNG"]) as opened:
            columns, rows = opened.width // width, opened.height // height
            if not 1 <= columns <= _COLUMNS or not 1 <= rows <= _ROWS or opened.size != (columns * width, rows * height):
                raise ArtifactError(f"{EXAMPLES} has {opened.width} x {opened.height} pixels, no grid of examples of {width} x {height}; fetch it again")
            picture = torch.from_numpy(np.array(opened.convert("L" if channels == 1 else "RGB")))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ArtifactError(f"{EXAMPLES} cannot be read as a picture ({error}); fetch it again") from error
    tiles = picture.reshape(rows, height, columns, width, channels).permute(0, 2, 4, 1, 3)
    return tiles.reshape(rows * columns, channels, height, width).float() / 255
