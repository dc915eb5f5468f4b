"""MNIST from its original idx files."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.data import DataInfo, DataSource, Splits, TensorTable
from linearizer_core.errors import DataError
from linearizer_datasets.config import MnistConfig

_UNSIGNED_BYTE = 8


class Mnist(DataSource):
    """60,000 training and 10,000 test digits of 28x28 pixels; the last ``config.validation`` training digits are kept for validation.

    ``config.margin`` dark pixels are added on each side.

    Raises:
        DataError: when a file is missing, truncated or not an idx file.
    """

    def __init__(self, config: MnistConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        folder = _raw_folder(self.config.root)
        images, labels = _read_pair(folder, "train")
        test_images, test_labels = _read_pair(folder, "t10k")
        if images.shape[1:] != test_images.shape[1:]:
            raise DataError(f"{folder}: train images have shape {tuple(images.shape[1:])}, test images {tuple(test_images.shape[1:])}; fetch the files again")
        kept = len(images) - self.config.validation
        if kept < 1:
            raise DataError(f"{folder} holds {len(images)} training images, data.validation asks for {self.config.validation}; lower data.validation")
        images, test_images = (functional.pad(pixels, [self.config.margin] * 4) for pixels in (images, test_images))
        train = TensorTable(x=images, label=labels)
        return Splits(
            info=DataInfo(name="mnist", shape=tuple(images.shape[1:]), classes=10),
            train=train.slice(0, kept),
            validation=train.slice(kept, len(images)),
            test=TensorTable(x=test_images, label=test_labels),
        )


def _raw_folder(root: Path) -> Path:
    for folder in (root, root / "MNIST" / "raw", root / "raw"):
        if any(folder.glob("train-images-idx3-ubyte*")):
            return folder
    raise DataError(
        f"no file train-images-idx3-ubyte(.gz) in {root}, {root / 'MNIST' / 'raw'} or {root / 'raw'}; "
        "set data.root to the folder with MNIST's four idx files (torchvision.datasets.MNIST(root, download=True) makes one)"
    )


def _read_pair(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    images = read_idx(folder, f"{split}-images-idx3-ubyte", dimensions=3).unsqueeze(1)
    labels = read_idx(folder, f"{split}-labels-idx1-ubyte", dimensions=1).long()
    if len(images) != len(labels):
        raise DataError(f"{folder}: {len(images)} {split} images but {len(labels)} labels; fetch both files again")
    if int(labels.max()) > 9:
        raise DataError(f"{folder}: {split} labels reach {int(labels.max())}, digits are 0 to 9; fetch the label file again")
    return images, labels


def read_idx(folder: Path, name: str, *, dimensions: int) -> Tensor:
    """One idx file of unsigned bytes, gzipped or not, as a uint8 tensor with ``dimensions`` dimensions.

    Raises:
        DataError: when the file is missing, truncated, or holds something else.
    """
    plain, zipped = folder / name, folder / f"{name}.gz"
    path = plain if plain.exists() else zipped
    if not path.exists():
        raise DataError(f"neither {plain} nor {zipped} exists; MNIST needs four idx files, see data.root")
    try:
        raw = gzip.decompress(path.read_bytes()) if path == zipped else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch it again") from error
    header = 4 + 4 * dimensions
    if len(raw) < header or raw[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise DataError(
            f"{path} is not an idx file of unsigned bytes in {dimensions} dimensions (it starts with {raw[:4].hex(' ') or 'nothing'}); fetch it again"
        )
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    body = torch.frombuffer(bytearray(raw), dtype=torch.uint8)[header:]
    if body.numel() != math.prod(shape) or not body.numel():
        raise DataError(f"{path} announces shape {shape}, but holds {body.numel()} bytes of data; it is truncated or damaged, fetch it again")
    return body.reshape(shape)
