"""What a dataset plugin hands over: three splits and a description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from linearizer_core.errors import DataError

Batch = dict[str, Tensor]


class DataInfo(BaseModel):
    """What a model must know of its data: shape of one example without the batch, classes (0 where unlabelled) and name.

    Where classes have names, ``class_names`` holds them in the order of the labels.

    Raises:
        ValueError: for another number of names than classes, or the same name twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    shape: tuple[PositiveInt, ...] = Field(min_length=1)
    classes: NonNegativeInt = 0
    class_names: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        if self.class_names and (len(self.class_names) != self.classes or len(set(self.class_names)) != self.classes):
            raise ValueError(f"class_names holds {list(self.class_names)}, expected {self.classes} different names, one for each class")
        return self


@dataclass(frozen=True)
class Splits:
    """Training, validation and test examples.

    Each item is a dict with ``x`` (float in [0, 1] for images) and, where ``info.classes`` > 0, an integer ``label``.
    """

    info: DataInfo
    train: Dataset[Batch]
    validation: Dataset[Batch]
    test: Dataset[Batch]


class DataSource(ABC):
    """The contract of a dataset plugin: constructed from its validated configuration, it loads three splits."""

    @abstractmethod
    def load(self) -> Splits:
        """Read the data.

        Raises:
            DataError: when it is missing, empty or malformed; the message names the path and the fix.
        """


class TensorTable(Dataset[Batch]):
    """Examples held in memory: equally long tensors under names. Images may be uint8; they are handed out as float32 in [0, 1].

    Example:
        >>> import torch
        >>> table = TensorTable(x=torch.tensor([[0], [255]], dtype=torch.uint8), label=torch.tensor([4, 9]))
        >>> table[1]
        {'x': tensor([1.]), 'label': tensor(9)}
        >>> len(table)
        2
    """

    def __init__(self, **tensors: Tensor) -> None:
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1 or not next(iter(lengths.values())):
            raise DataError(f"a table needs tensors of one length, at least 1, got {lengths}")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> Batch:
        return {name: _unit(tensor[index]) for name, tensor in self.tensors.items()}

    def __getitems__(self, indices: list[int]) -> Batch:
        """A whole batch at once: the loader calls this instead of one lookup per example."""
        rows = torch.as_tensor(indices)
        return {name: _unit(tensor[rows]) for name, tensor in self.tensors.items()}

    def slice(self, start: int, stop: int) -> TensorTable:
        """The examples from ``start`` to ``stop``, sharing memory."""
        return TensorTable(**{name: tensor[start:stop] for name, tensor in self.tensors.items()})


def _unit(tensor: Tensor) -> Tensor:
    return tensor.float() / 255 if tensor.dtype == torch.uint8 else tensor


def collate(items: Any) -> Batch:
    """Collate for a loader: a batch that already is one (from `TensorTable`) passes through."""
    return cast(Batch, dict(items) if isinstance(items, Mapping) else default_collate(items))


def stack(dataset: Dataset[Batch], limit: int | None = None) -> Batch:
    """The first ``limit`` examples (all by default) as one batch."""
    count = len(dataset) if limit is None else min(limit, len(dataset))  # type: ignore[arg-type]
    fetch = getattr(dataset, "__getitems__", None)
    return collate(fetch(list(range(count))) if fetch else [dataset[i] for i in range(count)])
