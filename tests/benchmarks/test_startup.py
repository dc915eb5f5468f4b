"""The benchmark of start-up in miniature: it sees an import that should not be there."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import startup as benchmark
from benchmarks.startup import imported, report


def test_imports_of_another_process_are_seen() -> None:
    assert "decimal" in imported(("-c", "import decimal"))
    assert "decimal" not in imported(("-c", "pass"))
    assert "collections.abc" in imported(("-c", "import collections.abc"))


def test_listing_imports_no_torch() -> None:
    modules = imported((*benchmark.RUN, "list"))
    assert "linearizer_core.cli" in modules
    assert "torch" not in modules


@pytest.mark.parametrize("heavy", ["decimal", "linearizer_core.cli"])
def test_results_are_complete(monkeypatch: pytest.MonkeyPatch, heavy: str) -> None:
    monkeypatch.setattr(benchmark, "HEAVY", heavy)
    modules: dict[Any, set[str]] = {("-c", "pass"): set(), ("-c", f"import {heavy}"): {heavy}}
    monkeypatch.setattr(benchmark, "imported", lambda words: modules.get(words, {"linearizer_core.cli"}))
    monkeypatch.setattr(benchmark, "start", lambda words: None)
    results = benchmark.measure(repeats=2, quick=True)
    names = [case["command"] for case in results.cases]
    assert names == [benchmark.NOTHING, benchmark.TORCH, "linearizer --help", "linearizer list"]
    loaded = heavy == "linearizer_core.cli"
    assert results.figures["linearizer list: imports torch"].value == loaded
    assert [target.met for target in results.targets] == [True, not loaded]
    row = next(line for line in report(results).splitlines() if line.startswith("| `linearizer list` |"))
    assert row.endswith("| 1 | yes |" if loaded else "| 1 | no |")
