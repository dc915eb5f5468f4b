"""Results are written whole and read back; targets say whether they are met."""

from __future__ import annotations

import json
import math
from pathlib import Path

from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results, Target, is_quick, read_figures, target_table


def results(**changes: object) -> Results:
    values = {"name": "one", "command": "python -m benchmarks.one", "quick": False, "environment": {"device": "CPU"}, "settings": {}, "cases": [{"a": 1}]}
    return Results(**{**values, **changes})  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    figures = {"a": Figure(1.5, "error"), "b": Figure(math.inf, "speedup", extrapolated=True)}
    results(figures=figures, targets=[Target("t", 2.0, 1.0, "at most")]).write(tmp_path / "new", "", "a table")
    assert read_figures(tmp_path / "new" / "one.json") == figures
    assert not is_quick(tmp_path / "new" / "one.json")
    assert (tmp_path / "new" / "one.md").read_text() == "a table\n"
    written = json.loads((tmp_path / "new" / "one.json").read_text())
    assert written["targets"] == [{"text": "t", "limit": 2.0, "measured": 1.0, "bound": "at most", "extrapolated": False, "met": True}]
    assert written["cases"] == [{"a": 1}]


def test_another_device_stands_beside(tmp_path: Path) -> None:
    results().write(tmp_path, "", "here")
    results(quick=True).write(tmp_path, "nvidia-h200", "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.json", "one.md", "one.nvidia-h200.json", "one.nvidia-h200.md"]
    assert is_quick(tmp_path / "one.nvidia-h200.json")


def test_targets_say_met_missed_and_extrapolated() -> None:
    targets = [Target("fast", 10.0, 12.0, "at least", extrapolated=True), Target("small", 10.0, 12.0, "at most"), Target("exact", 12.0, 12.0, "at least")]
    assert target_table(targets).splitlines()[2:] == [
        "| fast | at least 10 | 12 [x] | met |",
        "| small | at most 10 | 12 | missed |",
        "| exact | at least 12 | 12 | met |",
    ]
