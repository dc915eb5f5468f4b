"""Reading safetensors files that may come from anywhere: what a file claims is compared with what it holds before memory is spent on it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from linearizer_core.errors import ArtifactError

__all__ = ["count_elements", "read_tensors"]

LARGEST_HEADER = 4 * 2**20
"""Bytes of the header, which names the tensors: room for some 40,000 of them."""

LARGEST_EMPTY = 2**24
"""Largest side of a tensor without elements: it takes no room in the file, but what is computed with it does."""


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file by name, on the CPU, and its metadata. Takes no more memory than the file has bytes, twice.

    Raises:
        ArtifactError: for what is no regular file, no safetensors file, or one with a header of more than 4 MiB or an empty tensor of absurd shape.
    """
    with _opened(Path(path)) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 (not a mapping)


def count_elements(path: str | os.PathLike[str]) -> tuple[int, int]:
    """How many elements the tensors of a file have in all, and how many tensors there are. Reads the header only.

    Raises:
        ArtifactError: as `read_tensors`.
    """
    with _opened(Path(path)) as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes), len(shapes)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.exists():
        raise ArtifactError(f"{path} is missing; the artifact is incomplete, fetch or save it again")
    if not path.is_file():  # opening a pipe would wait for somebody to write into it
        raise ArtifactError(f"{path} is no regular file, expected safetensors; fetch or save it again")
    try:
        with path.open("rb") as raw:
            header = int.from_bytes(raw.read(8), "little")
        if header > LARGEST_HEADER:
            raise ArtifactError(
                f"{path} claims a header of {header} bytes, expected at most {LARGEST_HEADER}; it is damaged or a pickle, fetch or save it again"
            )
        with safe_open(os.fspath(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118
                shape = file.get_slice(name).get_shape()
                if not math.prod(shape) and max(shape) > LARGEST_EMPTY:
                    raise ArtifactError(f"{path}: {name[:99]} has no elements and shape {shape}, expected sides up to {LARGEST_EMPTY}; fetch or save it again")
            yield file
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read as safetensors ({error}); it is truncated, damaged or a pickle, fetch or save it again") from error
