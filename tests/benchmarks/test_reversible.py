"""The benchmark of memory and time measures what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import reversible as benchmark


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")
def test_the_command_writes_json_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark.main(["--depths", "3", "--repeats", "1", "--out", str(tmp_path)])
    cases = {case["way"]: case for case in json.loads((tmp_path / "reversible.json").read_text())["cases"]}
    assert list(cases) == list(benchmark.WAYS)
    assert cases["reversible"]["kept"] < 0.05 * cases["plain"]["kept"]
    assert 0 < cases["reversible"]["peak"] < 1.2 * cases["plain"]["peak"]
    assert all(case["cosine"] > 0.99999 for case in cases.values())
    table = (tmp_path / "reversible.md").read_text()
    assert table in capsys.readouterr().out
    assert "| 3 | reversible | " in table
    assert "Seed 0" in table
