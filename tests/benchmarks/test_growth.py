"""The benchmark of growth in miniature: exponents, tables, plots."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import growth as benchmark
from benchmarks.growth import CALLS, Sizes, Sweep, fit_power_law, plot, report, run, sweeps
from benchmarks.tools.timing import Spread


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 3.0])
def test_exponents_are_found(exponent: float) -> None:
    sizes = [10, 20, 50, 100]
    found, r_squared = fit_power_law(sizes, [3 * size**exponent for size in sizes])
    assert found == pytest.approx(exponent, abs=1e-12)
    assert r_squared == pytest.approx(1) or exponent == 0


def test_scatter_shows_in_r_squared() -> None:
    assert fit_power_law([1, 2, 4, 8], [1.0, 3.0, 2.0, 6.0])[1] < 0.9


def test_steps_are_counted_not_times(monkeypatch: pytest.MonkeyPatch) -> None:
    # T times are T - 1 steps: a time proportional to the steps has exponent 1.
    monkeypatch.setattr(benchmark, "interleaved", lambda calls, repeats, **options: {name: Spread((float(name) - 1,)) for name in calls})
    monkeypatch.setitem(CALLS, "collapse", lambda way, sizes, device: lambda: None)
    sizes = Sizes(D=8, depth=1, rank=1, T=4)
    assert run(Sweep("collapse", "dense", "T", (2, 4, 8), sizes), "cpu", 1, 0)["exponent"] == pytest.approx(1)
    assert run(Sweep("collapse", "dense", "D", (2, 4, 8), sizes), "cpu", 1, 0)["exponent"] > 1.2


def test_all_sweeps_run_and_are_shown(tmp_path: Path) -> None:
    results = benchmark.measure(device="cpu", repeats=1, quick=True)
    assert [(case["quantity"], case["variable"]) for case in results.cases] == [(sweep.quantity, sweep.variable) for sweep in sweeps(quick=True)]
    assert {figure.kind for figure in results.figures.values()} == {"exponent"}
    files = []
    for quantity in CALLS:
        files.append(f"growth-{quantity}.png")
        plot(results, quantity, tmp_path / files[-1])
        assert (tmp_path / files[-1]).stat().st_size > 5000
    text = report(results, files)
    assert "| sampling | loop | T | 4 | 8 | D 64, depth 2, rank 4, batch 2 |" in text
    assert "| collapse | dense | D | 32 | 64 | rank 4, T 8 |" in text
    assert "![Time of training in log-log scale](growth-training.png)" in text


def test_every_quantity_grows_with_what_it_can() -> None:
    found = {(sweep.quantity, sweep.variable) for sweep in sweeps(quick=False)}
    assert found >= {(quantity, variable) for quantity in CALLS for variable in ("D", "rank")}
    assert {("collapse", "T"), ("sampling", "T"), ("sampling", "depth"), ("training", "depth")} <= found
