"""Metrics: one line of JSON per interval, always; other trackers through Accelerate, by name."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from linearizer_core.errors import ConfigError
from linearizer_core.files import sync

__all__ = ["MetricsFile", "check_tracker", "read_metrics"]

MetricValue = float | int | str | None


def check_tracker(name: str) -> None:
    """Raise `ConfigError` unless the package of the tracker ``name`` is installed; "jsonl" needs none."""
    if name != "jsonl" and importlib.util.find_spec(name) is None:
        raise ConfigError(f"training.tracker is {name!r}, but the package {name} is not installed; pip install {name}, or use training.tracker = 'jsonl'")


class MetricsFile:
    """``metrics.jsonl``: one object per line, in order of ``step``.

    Args:
        path: the file; created when missing.
        step: the step training continues from. Lines after it, and a line cut short by a kill, are dropped: they will be written again.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        self.path = path
        if path.exists():
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_text("".join(json.dumps(line) + "\n" for line in _lines(path) if _step(line) <= step), encoding="utf-8")
            sync(temporary)
            os.replace(temporary, path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, line: Mapping[str, MetricValue]) -> None:
        """Append one line; it has reached the operating system on return."""
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Force all lines to disk: a checkpoint must not be newer than its metrics."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, MetricValue]]:
    """All complete lines of a metrics file."""
    return list(_lines(path))


def _lines(path: Path) -> Iterator[dict[str, MetricValue]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _step(line: Mapping[str, MetricValue]) -> int:
    step = line["step"]
    assert isinstance(step, int)
    return step
