"""The benchmark of memory and time measures what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import reversible as benchmark


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")
def test_the_command_writes_json_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["reversible", "--depths", "3", "--repeats", "1", "--out", str(tmp_path)])
    benchmark.main()
    cases = {case["way"]: case for case in json.loads((tmp_path / "reversible.json").read_text())["cases"]}
    assert list(cases) == list(benchmark.WAYS)
    assert cases["reversible"]["kept"] < 0.05 * cases["plain"]["kept"]
    assert 0 < cases["reversible"]["peak"] < 1.2 * cases["plain"]["peak"]
    assert all(case["cosine"] > 0.99999 for case in cases.values())
    table = (tmp_path / "reversible.md").read_text()
    assert table in capsys.readouterr().out
    assert "| 3 | reversible | " in table
    assert "seed 0" in table
