"""Many pictures, decoded once, into arrays that are read without decoding anything. Imports no torch, unless a split is to be drawn.

The folder appears at the end, complete: until then its files lie beside it in a hidden folder, which a run that is stopped removes. One that is killed
leaves it behind, and the next one begins it anew.
"""

from __future__ import annotations

import fcntl
import functools
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from linearizer_core.errors import ConfigError, DataError
from linearizer_core.files import sync, write_json
from linearizer_datasets.config import PrepareConfig
from linearizer_datasets.pictures import list_pictures, read_many
from linearizer_datasets.preparation import DESCRIPTION, Preparation
from linearizer_datasets.tables import read_attributes, read_split

FOLDER = "folder"
"""The label that says in which subfolder a picture lies."""

_TOGETHER = 64
"""Pictures that a process decodes before it hands them over."""

_SHOWN = 10


def prepare(folder: Path, output: Path, config: PrepareConfig, processes: int = 1) -> Preparation:
    """Crop and scale the pictures below ``folder``, and write them to ``output`` as `linearizer_datasets.preparation` describes.

    Arguments:
        folder: pictures, in subfolders or not; the first-level subfolders are the classes of the label `FOLDER`.
        output: a folder that does not exist yet.
        config: how pictures are cropped, scaled, split and labelled.
        processes: how many decode; the files have the same bits for any number.

    Raises:
        ConfigError: when ``output`` exists, or another process is writing it.
        DataError: for pictures that cannot be used, all of them named up to 10, for a split or attributes that name other pictures, and where nothing can be
            written.
    """
    if output.exists():
        raise ConfigError(f"{output} exists; choose another folder, or remove it first")
    names = list_pictures(folder)
    splits = _split(folder, names, config)
    known = _Labels(names, config.attributes)
    labels = {split: known.of(chosen) for split, chosen in splits.items()}
    description = Preparation(
        source=folder.resolve().name,
        size=config.size,
        crop=config.crop,
        channels=config.channels,
        counts={split: len(chosen) for split, chosen in splits.items()},
        labels=known.classes,
    )
    read = functools.partial(read_many, size=config.size, channels=config.channels, crop=config.crop)
    problems: list[str] = []
    with _appearing(output) as partial, _mapping(processes) as mapping, tqdm(total=sum(map(len, splits.values())), unit="picture", smoothing=0.05) as bar:
        for split, chosen in splits.items():
            paths = [folder / name for name in chosen]
            parts = [paths[start : start + _TOGETHER] for start in range(0, len(paths), _TOGETHER)]
            with (partial / f"{split}.npy").open("wb") as file:
                shape = (len(paths), config.size, config.size, config.channels)
                np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for pixels, wrong in mapping(read, parts):
                    file.write(pixels)
                    problems += wrong
                    bar.update(len(pixels))
            if known.classes:
                np.save(partial / f"{split}_labels.npy", labels[split], allow_pickle=False)
        if problems:
            rest = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
            raise DataError("\n  - ".join([f"{len(problems)} pictures cannot be used, nothing was written", *problems[:_SHOWN], *rest]))
        write_json(partial / DESCRIPTION, description.model_dump())
    return description


def _split(folder: Path, names: list[str], config: PrepareConfig) -> dict[str, list[str]]:
    if config.split is None:
        from linearizer_datasets.image_folder import split_at_random

        train, validation, test = split_at_random(folder, len(names), config.validation, config.test, config.seed)
        return {"train": [names[row] for row in train], "validation": [names[row] for row in validation], "test": [names[row] for row in test]}
    splits = read_split(config.split)
    _require({name for chosen in splits.values() for name in chosen} - set(names), f"{config.split} names", f"are not in {folder}")
    return splits


class _Labels:
    """What is known of pictures: the subfolder, where all lie in one of several, and the attributes of a file, where there is one."""

    def __init__(self, names: list[str], attributes: Path | None) -> None:
        self._file = attributes
        folders = sorted({_folder(name) for name in names})
        self._number = {folder: number for number, folder in enumerate(folders)} if "" not in folders and len(folders) > 1 else {}
        columns, self._has = ([], {}) if attributes is None else read_attributes(attributes)
        self.classes = ({FOLDER: tuple(folders)} if self._number else {}) | {column: (f"not {column}", column) for column in columns}

    def of(self, names: list[str]) -> np.ndarray:
        """The labels ``(N, K)`` of pictures, int32: the number of the class in each of the K columns."""
        columns: list[list[Any]] = []
        if self._number:
            columns.append([[self._number[_folder(name)]] for name in names])
        if self._file is not None:
            _require(set(names) - self._has.keys(), f"{self._file} has no line for", "are to be prepared")
            columns.append([self._has[name] for name in names])
        return np.concatenate(columns, axis=1, dtype=np.int32) if columns else np.empty((len(names), 0), dtype=np.int32)


def _folder(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def _require(missing: set[str], before: str, after: str) -> None:
    if missing:
        raise DataError(f"{before} {len(missing)} pictures that {after}, such as {min(missing)}; the files must belong together")


# --- processes -------------------------------------------------------------------------------------


@contextmanager
def _mapping(processes: int) -> Iterator[Callable[..., Any]]:
    """A ``map`` that keeps the order of its results, over so many processes."""
    if processes == 1:
        yield map
        return
    # A new interpreter for each, since a process with threads, such as torch's, must not be forked.
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise DataError(f"one of {processes} processes was killed, as happens when memory runs out; try fewer with --processes") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Leave an interrupt to the parent, which stops the others in order; and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


# --- the folder that appears ------------------------------------------------------------------------


@contextmanager
def _appearing(output: Path) -> Iterator[Path]:
    """A folder to fill, which becomes ``output`` at the end, in one atomic step; where that fails, nothing remains of it."""
    partial = output.with_name(f".{output.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with _locked(partial):
            for leftover in partial.iterdir():
                leftover.unlink()
            try:
                yield partial
                for path in (*partial.iterdir(), partial):
                    sync(path)
                partial.rename(output)
                sync(output.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise DataError(f"{output} cannot be written ({error}); make room, or choose another place") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that ends with this process at the latest."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"{folder} is being written by another process; wait for it, or choose another folder") from error
        yield
    finally:
        os.close(descriptor)
