"""Prepared pictures, read from disk as they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from linearizer_core.data import Batch, DataInfo, DataSource, Splits
from linearizer_core.errors import DataError
from linearizer_core.validation import nearest
from linearizer_datasets.config import PreparedConfig
from linearizer_datasets.preparation import Preparation, read_preparation


class Prepared(DataSource):
    """What ``linearizer prepare`` wrote to ``config.root``. The files are memory-mapped: they may be larger than memory, and processes share them.

    With ``config.label``, examples are labelled by the column of that name.

    Raises:
        DataError: when a file is missing, truncated or not the one that the description tells, and for a label that there is not.
    """

    def __init__(self, config: PreparedConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        described, label = read_preparation(self.config.root), self.config.label
        if label is not None and label not in described.labels:
            raise DataError(f"data.label = {label!r}: {self.config.root} has no such label; {nearest(label, list(described.labels))}")
        names = () if label is None else described.labels[label]
        return Splits(
            info=DataInfo(
                name=self.config.root.resolve().name,
                shape=(described.channels, described.size, described.size),
                classes=len(names),
                class_names=names,
            ),
            train=self._pictures(described, "train"),
            validation=self._pictures(described, "validation"),
            test=self._pictures(described, "test"),
        )

    def _pictures(self, described: Preparation, split: Any) -> MappedPictures:
        root, label, count = self.config.root, self.config.label, described.counts[split]
        path = root / f"{split}.npy"
        _map(path, np.dtype(np.uint8), (count, described.size, described.size, described.channels))
        if label is None:
            return MappedPictures(path)
        table = _map(root / f"{split}_labels.npy", np.dtype(np.int32), (count, len(described.labels)))
        column = np.array(table[:, list(described.labels).index(label)], dtype=np.int64)
        if column.min() < 0 or column.max() >= len(described.labels[label]):
            raise DataError(f"{root / f'{split}_labels.npy'}: {label} runs from {column.min()} to {column.max()}; prepare the pictures again")
        return MappedPictures(path, torch.from_numpy(column))


class MappedPictures(Dataset[Batch]):
    """Pictures of a ``.npy`` file, uint8 ``(N, H, W, C)``, handed out as float32 ``(C, H, W)`` in [0, 1]; only those that are asked for are read.

    A loader may have processes: they are given the name of the file, never its content.
    """

    def __init__(self, path: Path, labels: Tensor | None = None) -> None:
        self.path, self.labels = path, labels
        self.pixels = np.lib.format.open_memmap(path, mode="r")

    def __reduce__(self) -> tuple[Any, ...]:
        return MappedPictures, (self.path, self.labels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Batch:
        return {name: tensor[0] for name, tensor in self.__getitems__([index]).items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once: the loader calls this instead of one lookup per example."""
        x = torch.from_numpy(self.pixels[indices]).permute(0, 3, 1, 2).contiguous().float() / 255
        return {"x": x} if self.labels is None else {"x": x, "label": self.labels[indices]}


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """A ``.npy`` file, mapped; `DataError` for any other than that of this type and shape. Arrays of Python objects are refused."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); prepare the pictures again") from error
    if (array.dtype, array.shape) != (dtype, shape):
        raise DataError(f"{path} is {array.dtype} of shape {array.shape}, expected {dtype} of shape {shape}; prepare the pictures again")
    return array
