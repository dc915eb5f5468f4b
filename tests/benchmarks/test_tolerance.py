"""The benchmark of tolerances in miniature: looser ones give smaller operators and larger errors, and the table says so."""

from __future__ import annotations

import pytest

from benchmarks import tolerance as benchmark
from benchmarks.tolerance import TOLERANCES, measure, report
from benchmarks.tools.results import Results


@pytest.fixture(scope="module")
def results() -> Results:
    return measure(dims=(256,), rank=2, steps=20, device="cpu", repeats=2, quick=True)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_is_cut_costs_exactness(results: Results, dtype: str) -> None:
    cases = [case for case in results.cases if case["dtype"] == dtype]
    assert [case["rtol"] for case in cases] == list(TOLERANCES)
    errors, columns = [case["error"] for case in cases], [case["columns"] for case in cases]
    assert columns[-1] < columns[0] < 128
    assert errors[0] < 1e-5 < 1e-4 < errors[-1] < 0.1
    assert [case["bytes"] for case in cases] == [4 * (2 * 256 * count + 1) for count in columns]


def test_the_table_has_every_case(results: Results) -> None:
    text = report(results)
    assert text.count("| 256 | float") == 2 * len(TOLERANCES)
    assert text.count("| rounding |") == 2
    assert "19 RK4 steps" in text
    assert len(results.figures) == 4 * len(TOLERANCES)


def test_it_is_written(tmp_path: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--quick", "--repeats", "1", "--out", str(tmp_path)])
    assert "these figures mean nothing" in capsys.readouterr().out
