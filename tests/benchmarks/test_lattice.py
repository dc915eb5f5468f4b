"""The benchmark of the lattice in miniature: what is exact is exact, what is not is measured, and a finished run is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import lattice as benchmark
from benchmarks.lattice import run, table

SMALL = "levels=[{couplings=2, width=8}], dense={couplings=4, width=16}"


@pytest.mark.slow
def test_exact_and_affine_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEARIZER_CACHE", str(tmp_path / "cache"))
    small = {"affine coupling": f'name="coupling", {SMALL}', "lattice, exact": f'name="lattice", arithmetic="exact", {SMALL}'}
    monkeypatch.setattr(benchmark, "BACKBONES", small)
    results = {name: run(name, 25, 3, tmp_path) for name in small}
    affine, exact = results["affine coupling"], results["lattice, exact"]
    for name in ("round_trip", "round_trip_far", "idempotency", "idempotency_far", "batch"):
        assert exact[name] == 0, name
    assert 0 < affine["round_trip"] < 1e-4
    assert exact["rounded"] > affine["rounded"] == 0
    text = table(results, 25, 3)
    assert "| | affine coupling | lattice, exact |" in text
    assert "| round trip, test digits, largest error | " in text
    assert text.count("| 0 |") >= 5
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("report.json")}
    assert run("lattice, exact", 25, 3, tmp_path) == exact
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("report.json")} == before
