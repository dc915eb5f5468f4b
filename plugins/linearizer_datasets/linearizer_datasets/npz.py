"""Arrays from NumPy archives."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from linearizer_core.data import DataInfo, DataSource, Splits, TensorTable
from linearizer_core.errors import DataError
from linearizer_datasets.config import NpzConfig


class Npz(DataSource):
    """``train.npz`` and ``test.npz`` in ``config.root``: uint8 images ``(N, H, W)`` or ``(N, H, W, C)``, and integer labels where ``config.labels`` names them.

    Raises:
        DataError: when a file or an array is missing, of the wrong type or shape. Arrays of Python objects (pickles) are refused.
    """

    def __init__(self, config: NpzConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        images, labels = self._read("train")
        test_images, test_labels = self._read("test")
        if images.shape[1:] != test_images.shape[1:]:
            raise DataError(
                f"{self.config.root}: train images have shape {tuple(images.shape[1:])}, test images {tuple(test_images.shape[1:])}; they must agree"
            )
        classes = 0 if labels is None or test_labels is None else int(max(labels.max(), test_labels.max())) + 1
        train = TensorTable(x=images) if labels is None else TensorTable(x=images, label=labels)
        kept = len(images) - max(1, int(len(images) * self.config.validation))
        return Splits(
            info=DataInfo(name=self.config.root.resolve().name, shape=tuple(images.shape[1:]), classes=classes),
            train=train.slice(0, kept),
            validation=train.slice(kept, len(images)),
            test=TensorTable(x=test_images) if test_labels is None else TensorTable(x=test_images, label=test_labels),
        )

    def _read(self, split: str) -> tuple[Tensor, Tensor | None]:
        path = self.config.root / f"{split}.npz"
        arrays = _arrays(path)
        images = _array(arrays, self.config.images, path)
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) < 2:
            raise DataError(
                f"{path}: {self.config.images} is {images.dtype} of shape {images.shape}; expected uint8 (N, H, W) or (N, H, W, C) with N of at least 2"
            )
        pixels = torch.from_numpy(images if images.ndim == 4 else images[..., None]).permute(0, 3, 1, 2).contiguous()
        if self.config.labels is None:
            return pixels, None
        labels = _array(arrays, self.config.labels, path)
        if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise DataError(
                f"{path}: {self.config.labels} is {labels.dtype} of shape {labels.shape}; expected one integer of at least 0 for each of {len(images)} images"
            )
        return pixels, torch.from_numpy(labels.astype(np.int64))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        raise DataError(f"{path} does not exist; data.root must hold train.npz and test.npz")
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path} is a single array, not an archive of arrays; write it with numpy.savez")
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); arrays of Python objects are refused, save plain uint8 and integer arrays") from error


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    if not isinstance(arrays.get(name), np.ndarray):  # a member that is no .npy file is handed out as bytes
        raise DataError(f"{path} has no array {name!r}, it holds: {', '.join(sorted(arrays)) or 'nothing'}; set data.images or data.labels")
    return arrays[name]
