"""The benchmark of the collapse in miniature: complete, marked where it extrapolates, and right about errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks import collapse as benchmark
from benchmarks.collapse_cores import Flow, dense_error, errors, random_core, relative_error
from benchmarks.collapse_tables import report
from benchmarks.tools.results import Results
from linearizer_core.errors import ConfigError

SIZES = benchmark.Sizes(dims=(16, 24, 32), ranks=(3,), steps=10, large_dims=(64,), large_ranks=(4,), large_steps=(10, 20))
WAYS = [*benchmark.NESTED, *benchmark.OURS]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Workers answer at once, in this process; what they were asked."""
    asked: list[dict[str, Any]] = []

    def answer(module: str, device: str, case: dict[str, Any]) -> dict[str, Any]:
        asked.append(case)
        if case["way"] == "large":
            return {"peak": 1000}
        return {"peak": 7 * case["dim"] ** 2 if case["way"] in benchmark.NESTED else 100}

    monkeypatch.setattr(benchmark, "in_subprocess", answer)
    return asked


def measure(budget: float = 1e9) -> Results:
    return benchmark.measure(SIZES, device="cpu", repeats=2, budget=budget, quick=True)


def test_every_way_is_measured_at_every_size(here: list[dict[str, Any]]) -> None:
    results = measure()
    compared = [case for case in results.cases if case["way"] != "large"]
    assert [(case["dim"], case["way"]) for case in compared] == [(dim, way) for dim in SIZES.dims for way in WAYS]
    assert len(here) == len(results.cases) == 12 + 4
    assert not any(case["extrapolated"] for case in compared)
    for case in compared:
        assert len(case["time"]["samples"]) == 2
        assert case["peak"] > 0
        if case["way"] == benchmark.PUBLISHED:
            assert case["error_fp32"] > 1e-2
        else:
            assert case["error_fp32"] < 1e-5
        if case["way"] in benchmark.OURS:
            assert case["error_fp64"] < 1e-12
            published = next(other for other in compared if (other["dim"], other["way"]) == (case["dim"], benchmark.PUBLISHED))
            pairs = zip(case["speedup"]["samples"], published["time"]["samples"], case["time"]["samples"], strict=True)
            assert all(ratio == pytest.approx(dense / ours) for ratio, dense, ours in pairs)
            assert case["memory_share"] == pytest.approx(100 / (7 * case["dim"] ** 2))
    assert "shared subspace, D = 24, rank 3: error in fp64" in results.figures
    assert results.figures["D = 64, R = 4, T = 20, Magnus 4 to 1: bytes"].value == 1000


def test_the_table_shows_all_and_names_the_targets(here: list[dict[str, Any]]) -> None:
    results = measure()
    text = report(results)
    assert text.count("| dense, as published |") == 3
    assert text.count("| shared subspace |") == 3
    assert "| 64 | 4 | 20 | Magnus 4 to 1 |" in text
    assert "| relative error to the loop, float32, RK4: the worst of all sizes | at most 1e-05 |" in text
    assert "| 16 | 3 | dense, RK4 |" in text
    assert "[x] |" not in text


@pytest.mark.usefixtures("here")
def test_few_steps_are_scaled_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    # The first step says that all steps pass the budget, the size before that a few do not.
    monkeypatch.setattr(benchmark, "dense_steps", lambda way, flow, *rest, **options: 3)
    taken: list[int | None] = []
    dense = Flow.dense
    monkeypatch.setattr(Flow, "dense", lambda flow, *, nested, steps=None: taken.append(steps) or dense(flow, nested=nested, steps=steps))
    monkeypatch.setattr(benchmark, "interleaved", lambda turns, repeats, **options: _clocked(turns))
    rows = {case["way"]: case for case in benchmark.compare(16, 3, 10, device="cpu", repeats=2, budget=1.0, before=[])}
    for way in benchmark.NESTED:
        assert rows[way]["extrapolated"]
        assert rows[way]["time"]["samples"] == [9 / 3, 18 / 3]
    assert set(taken) == {3}
    assert rows["dense, RK4"]["error_fp32"] is None
    assert rows[benchmark.PUBLISHED]["error_fp32"] > 1e-2
    assert rows["shared subspace"]["speedup_extrapolated"]
    assert not rows["shared subspace"]["memory_extrapolated"]


def _clocked(turns: dict[str, Callable[[], object]]) -> dict[str, Any]:
    for turn in turns.values():
        turn()
    return {name: benchmark.Spread((1.0, 2.0)) for name in turns}


@pytest.mark.usefixtures("here")
def test_what_is_too_large_is_extrapolated_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "dense_steps", lambda way, flow, number, **options: 0 if flow.core.dim == 32 else number)
    results = measure()
    rows = {case["way"]: case for case in results.cases if case["way"] != "large" and case["dim"] == 32}
    smaller, larger = (next(case for case in results.cases if case["way"] == benchmark.PUBLISHED and case["dim"] == dim) for dim in (16, 24))
    published = rows[benchmark.PUBLISHED]
    assert published["extrapolated"]
    assert published["peak"] == pytest.approx(7 * 32**2)  # what is quadratic stays quadratic
    for small, large, found in zip(smaller["time"]["samples"], larger["time"]["samples"], published["time"]["samples"], strict=True):
        assert found == pytest.approx(large * (large / small) ** 0.7095112913514547)  # log(32 / 24) / log(24 / 16)
    assert rows["shared subspace"]["speedup_extrapolated"]
    assert rows["shared subspace"]["memory_extrapolated"]
    assert rows["dense, RK4"]["error_fp32"] is None
    assert results.figures["shared subspace, D = 32, rank 3: times faster than dense"].extrapolated
    text = report(results)
    assert sum("[x]" in line for line in text.splitlines() if line.startswith("| 32 |")) == 4
    assert not any("[x]" in line for line in text.splitlines() if line.startswith("| 24 |"))


def test_targets_are_checked_where_their_sizes_were_measured() -> None:
    def case(dim: int, speedup: float, share: float, marked: bool) -> dict[str, Any]:
        ratios = {"speedup": {"median": speedup}, "memory_share": share, "speedup_extrapolated": marked, "memory_extrapolated": marked}
        return {"way": "shared subspace", "dim": dim, "rank": 8, "error_fp32": 2e-6, **ratios}

    large = [{"dim": benchmark.LARGEST, "time": {"median": 12.0}, "peak": 1.5e9}]
    found = benchmark.targets([case(1024, 10, 0.5, False), case(3072, 900, 0.01, False), case(12_288, 20_000, 0.03, True)], large)
    assert [(target.limit, target.met, target.extrapolated) for target in found] == [
        (1e-5, True, False),
        (1000, False, False),
        (0.02, True, False),
        (10_000, True, True),
        (0.02, False, True),
        (10, False, False),
        (2e9, True, False),
    ]


def test_the_budget_decides_how_many_dense_steps_run(monkeypatch: pytest.MonkeyPatch) -> None:
    flow = Flow(random_core("low_rank", 32, 3, "cpu"), 100)
    monkeypatch.setattr(benchmark, "seconds", lambda function, device: 1.0)

    def steps(budget: float, before: list[dict[str, Any]]) -> int:
        return benchmark.dense_steps(benchmark.PUBLISHED, flow, 99, repeats=2, budget=budget, before=before, device="cpu")

    assert steps(200.0, []) == 99
    assert steps(190.0, []) == 3
    # One step took 0.5 s at D = 16: 4 s at D = 32, and 24 s for three steps, twice.
    earlier = [{"way": benchmark.PUBLISHED, "dim": 16, "measured_steps": 3, "time": {"median": 99 * 0.5}}]
    assert steps(25.0, earlier) == 3
    assert steps(23.0, earlier) == 0


def test_nothing_is_extrapolated_from_one_size() -> None:
    with pytest.raises(ConfigError, match=r"dense, RK4 at D = 64 would pass the budget, and 0 smaller sizes were measured, expected 2; raise --budget"):
        benchmark.extrapolate("dense, RK4", 64, [])


def test_errors_are_relative_to_the_loop() -> None:
    flow = Flow(random_core("low_rank", 24, 3, "cpu"), 50)
    found = errors(flow)
    assert 1e-9 < found["fp32"] < 1e-5
    assert 1e-9 < found["loop_fp32"] < 1e-5
    assert found["fp64"] < 1e-12
    assert dense_error(flow, flow.dense(nested=True)) < 1e-5
    assert dense_error(flow, flow.dense(nested=False)) == pytest.approx(found["published"], rel=1e-3)
    assert relative_error(torch.tensor([3.0, 4.4]), torch.tensor([3.0, 4.0], dtype=torch.float64)) == pytest.approx(0.08, rel=1e-6)
