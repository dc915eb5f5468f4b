"""Pictures from a folder."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from linearizer_core.data import Batch, DataInfo, DataSource, Splits
from linearizer_core.errors import DataError
from linearizer_datasets.config import ImageFolderConfig
from linearizer_datasets.pictures import EXTENSIONS, list_pictures, read_pixels


class ImageFolder(DataSource):
    """Pictures below ``config.root``, decoded when asked for; first-level subfolders, where there are any, are the classes in alphabetical order.

    Raises:
        DataError: when the folder is missing or holds fewer pictures than the three splits need, and, on access, for an unreadable picture.
    """

    def __init__(self, config: ImageFolderConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        config = self.config
        if not config.root.is_dir():
            raise DataError(f"data.root = {config.root} is not a folder; set it to the folder with the pictures")
        files = [config.root / name for name in list_pictures(config.root)]
        train, validation, test = split_at_random(config.root, len(files), config.validation, config.test, config.seed)
        names = sorted({path.relative_to(config.root).parts[0] for path in files if path.parent != config.root})
        if names and any(path.parent == config.root for path in files):
            raise DataError(f"{config.root} holds pictures both beside and inside subfolders; put every picture into a class folder, or none")
        pictures = _Pictures(files, names, config)
        return Splits(
            info=DataInfo(name="image_folder", shape=(config.channels, config.size, config.size), classes=len(names)),
            train=Subset(pictures, train),
            validation=Subset(pictures, validation),
            test=Subset(pictures, test),
        )


class _Pictures(Dataset[Batch]):
    def __init__(self, files: list[Path], names: list[str], config: ImageFolderConfig) -> None:
        self.files, self.names, self.config = files, names, config

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Batch:
        path = self.files[index]
        item = {"x": read_picture(path, self.config.size, self.config.channels)}
        if self.names:
            item["label"] = torch.tensor(self.names.index(path.relative_to(self.config.root).parts[0]))
        return item


def read_picture(path: Path, size: int, channels: int) -> Tensor:
    """One picture as float ``(channels, size, size)`` in [0, 1]: on white, shorter side scaled to ``size``, centre crop.

    Raises:
        DataError: when the file is not a picture that Pillow can decode.
    """
    return torch.from_numpy(read_pixels(path, size, channels)).permute(2, 0, 1).contiguous().float() / 255


def split_at_random(root: Path, count: int, validation: float, test: float, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Which of ``count`` pictures are for training, validation and test: fractions of a shuffle that depends on ``seed`` alone.

    Raises:
        DataError: when a fraction of them is less than one.
    """
    tests, validations = int(count * test), int(count * validation)
    if min(tests, validations) < 1:
        raise DataError(
            f"{root} holds {count} pictures ({', '.join(sorted(EXTENSIONS))}); too few for test = {test} and "
            f"validation = {validation}: add pictures or raise the fractions"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    return order[tests + validations :], order[tests : tests + validations], order[:tests]
