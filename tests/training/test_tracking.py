"""The metrics file survives kills and continues at the step of the checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from linearizer_core.errors import ConfigError
from linearizer_core.training.tracking import MetricsFile, check_tracker, read_metrics


def test_lines_after_the_resumed_step_and_a_cut_line_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path, step=0)
    for step in (1, 2, 3):
        metrics.write({"step": step, "loss": step / 10})
    metrics.close()
    with path.open("a") as file:
        file.write('{"step": 2, "lo')
    metrics = MetricsFile(path, step=2)
    metrics.write({"step": 3, "loss": None})
    metrics.close()
    assert read_metrics(path) == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.2}, {"step": 3, "loss": None}]


def test_missing_tracker_package_is_named() -> None:
    check_tracker("jsonl")
    with pytest.raises(ConfigError, match=r"no_such_tracker is not installed; pip install no_such_tracker, or use training\.tracker = 'jsonl'"):
        check_tracker("no_such_tracker")
