"""A process of its own answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.tools.memory import in_subprocess

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")


def test_a_process_of_its_own_answers() -> None:
    answer = in_subprocess("benchmarks.collapse", "cpu", {"way": "dense, RK4", "dim": 512, "rank": 2, "steps": 8})
    assert 3 * 512**2 * 4 < answer["peak"] < 12 * 512**2 * 4


def test_a_failure_says_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        in_subprocess("benchmarks.no_such_thing", "cpu", {})
    assert "No module named benchmarks.no_such_thing" in capfd.readouterr().err
