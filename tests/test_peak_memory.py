"""Peaks are seen, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from linearizer_core import peak_memory as module
from linearizer_core.peak_memory import peak_memory

MEBI = 2**20
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")


@linux
def test_a_peak_is_seen_though_it_is_over() -> None:
    with peak_memory("cpu") as peak:
        gone = torch.ones(64 * MEBI // 4)
        del gone
    assert peak.bytes is not None
    assert 60 * MEBI < peak.bytes < 90 * MEBI


@linux
def test_what_was_there_before_does_not_count() -> None:
    before = torch.ones(64 * MEBI // 4)
    with peak_memory("cpu") as peak:
        before.add_(1)
    assert peak.bytes is not None
    assert peak.bytes < 16 * MEBI


@linux
def test_an_earlier_peak_does_not_count() -> None:
    earlier = torch.ones(128 * MEBI // 4)
    del earlier
    with peak_memory("cpu") as peak:
        torch.ones(MEBI)
    assert peak.bytes is not None
    assert peak.bytes < 32 * MEBI


def test_where_the_system_does_not_tell_there_is_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROCESS", tmp_path / "nowhere")
    with peak_memory("cpu") as peak:
        torch.ones(3)
    assert peak.bytes is None
