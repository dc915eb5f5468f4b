"""Text files that say something of each picture: its part of the split, its attributes. Imports no torch.

Both forms of CelebA's files are read, since both are in use: words with spaces between (``list_eval_partition.txt``, ``list_attr_celeba.txt``), and
with commas between and ``image_id`` above the names of the pictures (the same names, ``.csv``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from linearizer_core.errors import DataError

SPLITS = ("train", "validation", "test")
_NAMES = "image_id"


def read_split(path: Path) -> dict[str, list[str]]:
    """The pictures of each of `SPLITS`, in the order of the file: a line is the name of a picture and 0, 1 or 2.

    Raises:
        DataError: for a file that cannot be read, another line, a picture that is named twice, and a split without pictures.
    """
    pictures: dict[str, list[str]] = {split: [] for split in SPLITS}
    seen = set()
    for number, words in _lines(path):
        if number == 1 and words[0] == _NAMES:
            continue
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise DataError(f"{path}, line {number}: {_shown(words)}, expected the name of a picture and 0 (training), 1 (validation) or 2 (test)")
        if words[0] in seen:
            raise DataError(f"{path}, line {number}: {words[0]} is named twice; remove one of the lines")
        seen.add(words[0])
        pictures[SPLITS[int(words[1])]].append(words[0])
    if empty := [split for split in SPLITS if not pictures[split]]:
        raise DataError(f"{path} names no picture for {' and '.join(empty)}; every split needs one")
    return pictures


def read_attributes(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The names of the attributes, and of each picture which of them it has: booleans ``(K,)``.

    A line of names, then for each picture a line of its name and one number for each attribute: 1 where the picture has it, -1 or 0 where not. CelebA's own
    file has a line with the number of pictures above all that.

    Raises:
        DataError: for a file that cannot be read, and another line.
    """
    lines = _lines(path)
    number, names = next(lines, (1, []))
    if len(names) == 1 and names[0].isdigit():
        number, names = next(lines, (2, []))
    names = names[1:] if names[:1] == [_NAMES] else names
    if not names or len(set(names)) != len(names):
        raise DataError(f"{path}, line {number}: {_shown(names)}, expected different names of attributes")
    has: dict[str, np.ndarray] = {}
    for number, (picture, *values) in lines:
        if len(values) != len(names) or not set(values) <= {"-1", "0", "1"}:
            raise DataError(f"{path}, line {number}: {_shown([picture, *values])}, expected the name of a picture and {len(names)} numbers, 1 or -1")
        has[picture] = np.array([value == "1" for value in values])
    return names, has


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty as words, with their numbers."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if words := line.replace(",", " ").split():
                    yield number, words
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a text file with a line for each picture") from error


def _shown(words: list[str]) -> str:
    text = " ".join(words)
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
