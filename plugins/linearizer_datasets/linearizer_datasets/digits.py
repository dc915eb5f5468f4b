"""The handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

import torch

from linearizer_core.data import DataInfo, DataSource, Splits, TensorTable
from linearizer_datasets.config import DigitsConfig


class Digits(DataSource):
    """1,797 real digits of 8x8 pixels in 17 grey levels, scaled to [0, 1]; split once, by ``config.seed``.

    Example:
        >>> splits = Digits(DigitsConfig()).load()
        >>> splits.info.shape, len(splits.train), len(splits.test)
        ((1, 8, 8), 1347, 360)
    """

    def __init__(self, config: DigitsConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        from sklearn.datasets import load_digits

        source = load_digits()
        images = torch.from_numpy(source.images).float().unsqueeze(1) / 16
        labels = torch.from_numpy(source.target).long()
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.config.seed))
        table = TensorTable(x=images[order], label=labels[order])
        first, second = self.config.test, self.config.test + self.config.validation
        return Splits(
            info=DataInfo(name="digits", shape=(1, 8, 8), classes=10),
            train=table.slice(second, len(table)),
            validation=table.slice(first, second),
            test=table.slice(0, first),
        )
