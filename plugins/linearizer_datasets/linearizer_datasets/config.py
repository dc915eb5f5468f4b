"""Validated options of the dataset plugins. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitsConfig(_Options):
    """Options of `digits`."""

    test: int = Field(360, ge=10, le=1000, description="digits kept for testing")
    validation: int = Field(90, ge=1, le=500, description="digits kept for validation")
    seed: int = Field(0, description="seed of the split")


class MnistConfig(_Options):
    """Options of `mnist`."""

    root: Path = Field(description="folder that holds the four idx files (gzipped or not), or torchvision's root with MNIST/raw inside")
    validation: int = Field(10_000, ge=1, le=50_000, description="digits taken from the end of the training set for validation")
    margin: int = Field(0, ge=0, le=50, description="dark pixels added on each side; 2 makes 32x32, the size of many published models")


class ImageFolderConfig(_Options):
    """Options of `image_folder`."""

    root: Path = Field(description="folder of pictures; subfolders, if any, are the classes")
    size: int = Field(64, ge=4, description="pictures are scaled and centre-cropped to size x size pixels")
    channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for colour; transparent pixels become white")
    validation: float = Field(0.1, gt=0, lt=0.5, description="fraction of the pictures kept for validation")
    test: float = Field(0.1, gt=0, lt=0.5, description="fraction of the pictures kept for testing")
    seed: int = Field(0, description="seed of the split")


class NpzConfig(_Options):
    """Options of `npz`."""

    root: Path = Field(description="folder with train.npz and test.npz")
    images: str = Field("images", description="name of the image array, uint8 (N, H, W) or (N, H, W, C)")
    labels: str | None = Field("labels", description="name of the integer label array; none for unlabelled data")
    validation: float = Field(0.1, gt=0, lt=0.5, description="fraction of train.npz taken from its end for validation")


class PreparedConfig(_Options):
    """Options of `prepared`."""

    root: Path = Field(description="folder that `linearizer prepare` wrote")
    label: str | None = Field(None, description="which of its labels the examples have, such as an attribute of the faces of CelebA; none for unlabelled data")


class PrepareConfig(_Options):
    """Options of `linearizer prepare`."""

    size: int = Field(64, ge=4, description="pictures become size x size pixels")
    crop: int | None = Field(None, ge=4, description="side of the square that is cut out around the centre, and then scaled; as large as it can be when none")
    channels: Literal[1, 3] = Field(3, description="1 for grey, 3 for colour; transparent pixels become white")
    split: Path | None = Field(None, description="file that says of each picture whether it is for training (0), validation (1) or test (2)")
    attributes: Path | None = Field(None, description="file that says of each picture which attributes it has (1) and has not (-1)")
    validation: float = Field(0.1, gt=0, lt=0.5, description="fraction of the pictures kept for validation, without a split file")
    test: float = Field(0.1, gt=0, lt=0.5, description="fraction of the pictures kept for testing, without a split file")
    seed: int = Field(0, description="seed of the split, without a split file")

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.split is not None and (given := sorted(self.model_fields_set & {"validation", "test", "seed"})):
            raise ValueError(f"a split file leaves nothing to draw; leave out {', '.join(given)}, or the split file")
        return self
