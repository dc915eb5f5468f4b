"""Which files of a folder or repository are a saved linearizer: these are sent and fetched, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from linearizer_core.errors import HubError
from linearizer_core.pretrained.artifact import LARGEST_CONFIG, LARGEST_JSON, LARGEST_LOG, LARGEST_PICTURE, LOG, MOST_PICTURES, PICTURE_NAME, check_files

_LARGEST_TENSORS = 4 * 2**30

LARGEST = {
    "config.json": LARGEST_CONFIG,
    "model.safetensors": _LARGEST_TENSORS,
    "operator.safetensors": _LARGEST_TENSORS,
    "collapse.json": LARGEST_JSON,
    "metrics.json": LARGEST_JSON,
    "notes.json": LARGEST_JSON,
    LOG: LARGEST_LOG,
    "README.md": LARGEST_JSON,
}
"""The files of the layout with their largest sizes in bytes; pictures come in addition."""

_ALWAYS = ("config.json", "model.safetensors", "metrics.json")


def artifact_sizes(sizes: Mapping[str, int], where: str) -> dict[str, int]:
    """The part of a listing, sizes in bytes by path, that belongs to a saved linearizer.

    Raises:
        HubError: where a file that every saved linearizer has is missing, where a file is too large, and for too many pictures.

    Example:
        >>> artifact_sizes({"config.json": 9, "model.safetensors": 9, "metrics.json": 2, "optimizer.bin": 10**12}, "someone/digits")
        {'config.json': 9, 'model.safetensors': 9, 'metrics.json': 2}
        >>> artifact_sizes({"config.json": 9, "pytorch_model.bin": 9}, "someone/else")
        Traceback (most recent call last):
        linearizer_core.errors.HubError: someone/else is not a saved linearizer: model.safetensors and metrics.json are missing; ...
    """
    if missing := [name for name in _ALWAYS if name not in sizes]:
        are = "are" if len(missing) > 1 else "is"
        raise HubError(f"{where} is not a saved linearizer: {' and '.join(missing)} {are} missing; give one that training or `linearizer push` wrote")
    pictures = sorted(path for path in sizes if PICTURE_NAME.fullmatch(path))
    if len(pictures) > MOST_PICTURES:
        raise HubError(f"{where} has {len(pictures)} pictures, expected at most {MOST_PICTURES}; it is not ours")
    limits = LARGEST | dict.fromkeys(pictures, LARGEST_PICTURE)
    found = {path: sizes[path] for path in limits if path in sizes}
    for path, size in found.items():
        if size > limits[path]:
            raise HubError(f"{where}: {path} has {size:,} bytes, expected at most {limits[path]:,}; it is not ours")
    return found


def artifact_files(folder: Path) -> dict[str, Path]:
    """The files of a folder that belong to a saved linearizer, by name.

    Raises:
        ArtifactError: for one that is a link out of the folder, or no regular file.
        HubError: as `artifact_sizes`.
    """
    check_files(folder)
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return {name: folder / name for name in artifact_sizes(sizes, str(folder))}
