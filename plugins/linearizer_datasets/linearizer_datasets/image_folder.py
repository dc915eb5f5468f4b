"""Pictures from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from linearizer_core.data import Batch, DataInfo, DataSource, Splits
from linearizer_core.errors import DataError
from linearizer_datasets.config import ImageFolderConfig

EXTENSIONS = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


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
        files = sorted(path for path in config.root.rglob("*") if path.suffix.lower() in EXTENSIONS and path.is_file())
        counts = int(len(files) * config.test), int(len(files) * config.validation)
        if min(counts) < 1:
            raise DataError(
                f"{config.root} holds {len(files)} pictures ({', '.join(sorted(EXTENSIONS))}); too few for test = {config.test} and "
                f"validation = {config.validation}: add pictures or raise the fractions"
            )
        names = sorted({path.relative_to(config.root).parts[0] for path in files if path.parent != config.root})
        if names and any(path.parent == config.root for path in files):
            raise DataError(f"{config.root} holds pictures both beside and inside subfolders; put every picture into a class folder, or none")
        pictures = _Pictures(files, names, config)
        order = torch.randperm(len(files), generator=torch.Generator().manual_seed(config.seed)).tolist()
        test, validation = order[: counts[0]], order[counts[0] : sum(counts)]
        return Splits(
            info=DataInfo(name="image_folder", shape=(config.channels, config.size, config.size), classes=len(names)),
            train=Subset(pictures, order[sum(counts) :]),
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
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            # Pillow clips 16-bit grey at 255 instead of scaling it.
            picture = (upright.point(lambda value: value / 257).convert("L") if upright.mode.startswith("I") else upright).convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be decoded ({error}); remove or replace it") from error
    white = Image.new("RGBA", picture.size, "white")
    flat = ImageOps.fit(Image.alpha_composite(white, picture).convert("RGB" if channels == 3 else "L"), (size, size), Image.Resampling.BICUBIC)
    array = torch.from_numpy(np.array(flat)).float() / 255
    return array.reshape(size, size, channels).permute(2, 0, 1).contiguous()
