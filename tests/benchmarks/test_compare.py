"""The comparison fails on a file that became worse, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import compare
from benchmarks.tools.figures import Figure, Kind
from benchmarks.tools.results import Results

COMMITTED = {
    "seconds": Figure(2.0, "seconds"),
    "faster": Figure(1000.0, "speedup", extrapolated=True),
    "error": Figure(1e-6, "error"),
    "evaluations": Figure(100, "count"),
}


def write(folder: Path, figures: dict[str, Figure], *, name: str = "one", device: str = "", quick: bool = False) -> None:
    Results(name, "", quick, {}, {}, [], figures).write(folder, device, "")


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    write(tmp_path / "committed", COMMITTED)
    return ["--runs", str(tmp_path / "runs"), "--committed", str(tmp_path / "committed")]


def run(tmp_path: Path, folders: list[str], changed: dict[str, Figure]) -> int:
    write(tmp_path / "runs", {**COMMITTED, **changed})
    return compare.main(folders)


def test_the_same_is_fine_and_the_table_tells_what_is_allowed(tmp_path: Path, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, folders, {}) == 0
    text = capsys.readouterr().out
    kinds = [line.split(" | ")[2] for line in text.splitlines() if line.startswith("| one")]
    assert kinds == ["count", "error", "speedup", "seconds"]
    assert "| one | faster | speedup | 1000 [x] | 1000 [x] | 1.00 | ok |" in text
    assert "| one | seconds | seconds | 2 | 2 | 1.00 | not judged |" in text
    assert "- error (relative error; rounding differs between processors; lower is better): times 3 at most" in text
    assert "- exponent (exponent of growth; lower is better): plus 0.3 at most" in text
    assert "0 of 4 figures are worse than allowed." in text


@pytest.mark.parametrize(
    ("name", "value", "kind", "code"),
    [
        ("error", 1e-5, "error", 1),
        ("error", 1e-9, "error", 0),
        ("faster", 100.0, "speedup", 1),
        ("faster", 1e9, "speedup", 0),
        ("evaluations", 101, "count", 1),
        ("evaluations", 99, "count", 0),
        ("seconds", 1e6, "seconds", 0),
        ("another", 5.0, "error", 0),
    ],
)
def test_worse_fails(tmp_path: Path, folders: list[str], capsys: pytest.CaptureFixture[str], name: str, value: float, kind: Kind, code: int) -> None:
    assert run(tmp_path, folders, {name: Figure(value, kind)}) == code
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(f"| one | {name} |"))
    assert ("WORSE" in line) is bool(code)
    assert ("new" in line) is (name == "another")


def test_a_figure_that_is_gone_fails(tmp_path: Path, folders: list[str]) -> None:
    write(tmp_path / "runs", {name: figure for name, figure in COMMITTED.items() if name != "error"})
    assert compare.main(folders) == 1


def test_seconds_that_are_gone_do_not(tmp_path: Path, folders: list[str]) -> None:
    write(tmp_path / "runs", {name: figure for name, figure in COMMITTED.items() if name != "seconds"})
    assert compare.main(folders) == 0


def test_devices_are_compared_with_themselves(tmp_path: Path, folders: list[str]) -> None:
    write(tmp_path / "committed", COMMITTED, device="gpu")
    write(tmp_path / "runs", {**COMMITTED, "faster": Figure(1.0, "speedup")}, device="gpu")
    assert compare.main([*folders, "one"]) == 1
    write(tmp_path / "runs", COMMITTED, device="gpu")
    assert compare.main([*folders, "one"]) == 0


def test_quick_results_are_refused(tmp_path: Path, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "runs", COMMITTED, quick=True)
    assert compare.main(folders) == 2
    assert "one.json comes from a run with --quick, whose figures mean nothing; run `python -m benchmarks one` without it" in capsys.readouterr().err


@pytest.mark.parametrize("names", [[], ["two"]])
def test_nothing_to_compare_is_told(folders: list[str], names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([*folders, *names]) == 2
    assert "hold no results of the same benchmark" in capsys.readouterr().err
