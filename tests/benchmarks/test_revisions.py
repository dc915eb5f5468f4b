"""Two revisions in miniature: each runs its own code, and the table names both."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import revisions as benchmark
from benchmarks.revisions import ROOT, measure, report, resolved, work

git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


@git
def test_a_revision_is_resolved_or_refused() -> None:
    name, subject = resolved("HEAD")
    assert subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip() == name
    assert subject
    with pytest.raises(SystemExit, match="git does not know the revision 'no-such-thing'"):
        resolved("no-such-thing")


@git
def test_each_part_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def timed(folder: Path, *, quick: bool) -> dict[str, float]:
        assert (folder / "linearizer_core").is_dir()
        seen.append(folder.name)
        return {"sampling": 2.0 if folder.name == "before" else 1.0}

    monkeypatch.setattr(benchmark, "work", timed)
    results = measure("HEAD", "HEAD", repeats=3, quick=True)
    assert seen == ["before", "after"] * 3
    assert results.cases[0]["ratio"]["samples"] == [0.5] * 3
    assert results.settings["before"]["commit"] == results.settings["after"]["commit"] == resolved("HEAD")[0]
    assert "| sampling | 2.00 s" in report(results)


@pytest.mark.slow
def test_the_workload_runs_the_code_of_the_folder() -> None:
    seconds = work(ROOT, quick=True)
    assert {part.partition(",")[0] for part in seconds} == {"sampling", "training", "collapse"}
    assert all(value > 0 for value in seconds.values())
