"""For each check of a data source one that is wrong in just that respect."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from linearizer_core.data import Batch, DataInfo, DataSource, Splits, TensorTable
from linearizer_core.testing import DatasetSubject


class Numbers(DataSource):
    """Right: 60 grey images of 4 x 4 pixels in 3 classes."""

    classes = 3

    def images(self) -> Tensor:
        return torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def labels(self) -> Tensor:
        return torch.arange(60) % 3

    def table(self) -> TensorTable:
        return TensorTable(x=self.images(), label=self.labels())

    def load(self) -> Splits:
        table = self.table()
        info = DataInfo(name="numbers", shape=(1, 4, 4), classes=self.classes)
        return Splits(info, table.slice(0, 40), table.slice(40, 50), table.slice(50, 60))


class _Empty(Dataset[Batch]):
    def __len__(self) -> int:
        return 0


class EmptySplit(Numbers):
    def load(self) -> Splits:
        splits = super().load()
        return Splits(splits.info, splits.train, _Empty(), splits.test)


class DoublePrecision(Numbers):
    def images(self) -> Tensor:
        return super().images().double()


class NotScaled(Numbers):
    def images(self) -> Tensor:
        return 255 * super().images()


class LabelsFromOne(Numbers):
    def labels(self) -> Tensor:
        return super().labels() + 1


class Shuffled(Numbers):
    def images(self) -> Tensor:
        return torch.rand(60, 1, 4, 4)


class Overlapping(Numbers):
    def load(self) -> Splits:
        splits = super().load()
        return Splits(splits.info, splits.train, self.table().slice(30, 45), splits.test)


class _Reversed(TensorTable):
    def __getitems__(self, indices: list[int]) -> Batch:
        return super().__getitems__(indices[::-1])


class OtherBatches(Numbers):
    def load(self) -> Splits:
        splits = super().load()
        return Splits(splits.info, _Reversed(x=self.images()[:40], label=self.labels()[:40]), splits.validation, splits.test)


def subject(make: Any) -> DatasetSubject:
    return DatasetSubject(make)


RIGHT = subject(Numbers)

WRONG = {
    "loads": subject(EmptySplit),
    "shapes": subject(DoublePrecision),
    "ranges": subject(NotScaled),
    "labels": subject(LabelsFromOne),
    "deterministic": subject(Shuffled),
    "disjoint": subject(Overlapping),
    "loader": subject(OtherBatches),
}

ALSO = {"loads": {"disjoint", "loader"}}


class _Blank(Numbers):
    def images(self) -> Tensor:
        return torch.zeros(60, 1, 4, 4)


class _Augmented(Numbers):
    def table(self) -> TensorTable:
        return _Flipping(x=self.images(), label=self.labels())


class _Flipping(TensorTable):
    def __getitem__(self, index: int) -> Batch:
        item = super().__getitem__(index)
        return {**item, "x": item["x"] + 0.01 * torch.rand(())}

    def slice(self, start: int, stop: int) -> TensorTable:
        return _Flipping(**{name: tensor[start:stop] for name, tensor in self.tensors.items()})


class _Unlabelled(Numbers):
    classes = 0


MORE = [
    ("ranges", subject(_Blank), "every number of every example is 0"),
    ("deterministic", subject(_Augmented), r"train\[0\] differs"),
    ("labels", subject(_Unlabelled), "has a label, but info.classes is 0"),
]
