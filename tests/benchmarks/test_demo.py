"""The benchmark of the demo in miniature."""

from __future__ import annotations

import pytest

from benchmarks import demo as benchmark
from benchmarks.demo import report


def test_every_tab_of_every_model_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SECONDS", 1e-6)
    results = benchmark.measure(repeats=2, quick=True)
    cases = [(case["tab"], case["model"]) for case in results.cases]
    assert cases == [
        *((tab, "flow.digits") for tab in ("One step vs many", "Draw and project", "Walk the space", "Look inside")),
        ("Orbits", "dynamics.pendulum"),
    ]
    slowest = max(case["time"]["median"] for case in results.cases)
    assert [target.measured for target in results.targets] == [slowest, max(case["first"] for case in results.cases)]
    assert not any(target.met for target in results.targets)
    assert all(len(case["time"]["samples"]) == 2 and case["first"] > 0 for case in results.cases)
    assert sum(line.startswith("| ") for line in report(results).splitlines()) == 1 + len(cases) + 1 + len(results.targets)
