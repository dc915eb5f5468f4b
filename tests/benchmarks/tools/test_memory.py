"""Peaks are seen, and a process of its own answers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from benchmarks.tools.memory import MEBI, in_subprocess, peak_memory

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")


def test_a_peak_is_seen_though_it_is_over() -> None:
    with peak_memory("cpu") as peak:
        gone = torch.ones(64 * MEBI // 4)
        del gone
    assert 60 * MEBI < peak.bytes < 90 * MEBI


def test_what_was_there_before_does_not_count() -> None:
    before = torch.ones(64 * MEBI // 4)
    with peak_memory("cpu") as peak:
        before.add_(1)
    assert peak.bytes < 16 * MEBI


def test_an_earlier_peak_does_not_count() -> None:
    earlier = torch.ones(128 * MEBI // 4)
    del earlier
    with peak_memory("cpu") as peak:
        torch.ones(MEBI)
    assert peak.bytes < 32 * MEBI


def test_a_process_of_its_own_answers() -> None:
    answer = in_subprocess("benchmarks.collapse", "cpu", {"way": "dense, RK4", "dim": 512, "rank": 2, "steps": 8})
    assert 3 * 512**2 * 4 < answer["peak"] < 12 * 512**2 * 4


def test_a_failure_says_what_failed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        in_subprocess("benchmarks.no_such_thing", "cpu", {})
    assert "No module named benchmarks.no_such_thing" in capfd.readouterr().err
