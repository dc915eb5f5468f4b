"""The folder of prepared pictures, as `linearizer prepare` writes it and the data set `prepared` reads it. Imports no torch.

``pictures.json`` describes it; for each of train, validation and test, ``SPLIT.npy`` holds the pictures, uint8 ``(N, size, size, channels)``, and
``SPLIT_labels.npy`` their labels, int32 ``(N, K)``, a column for each of them, where there are any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from linearizer_core.errors import DataError

DESCRIPTION = "pictures.json"


class Preparation(BaseModel):
    """What was prepared: how pictures were cropped and scaled, how many there are in each split, and the classes of each label, by their numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    source: str
    size: PositiveInt
    crop: PositiveInt | None
    channels: Literal[1, 3]
    counts: dict[Literal["train", "validation", "test"], PositiveInt]
    labels: dict[str, tuple[str, ...]]


def read_preparation(root: Path) -> Preparation:
    """The description of a prepared folder.

    Raises:
        DataError: when there is none, or one of another format.
    """
    path = root / DESCRIPTION
    try:
        return Preparation.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; data.root must be a folder that `linearizer prepare` wrote") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(f"{path} cannot be used ({where}: {first['msg']}); prepare the pictures again") from error
