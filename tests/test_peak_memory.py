"""Peaks are seen, and nothing else is: in a process of its own, since one that has worked before holds memory that nobody sees it use again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from linearizer_core import peak_memory as module
from linearizer_core.peak_memory import peak_memory

MEBI = 2**20
SCRIPT = """
import json, torch
from linearizer_core.peak_memory import peak_memory
mebi, found = 2**20, {}
torch.ones(10) + 1
with peak_memory("cpu") as peak:
    gone = torch.ones(64 * mebi // 4)
    del gone
found["over already"] = peak.bytes
before = torch.ones(64 * mebi // 4)
with peak_memory("cpu") as peak:
    before.add_(1)
found["there before"] = peak.bytes
earlier = torch.ones(128 * mebi // 4)
del earlier
with peak_memory("cpu") as peak:
    torch.ones(mebi)
found["after an earlier one"] = peak.bytes
print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="resident memory is read as Linux tells it")
def test_a_peak_is_that_of_the_context_alone() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert 60 * MEBI < found["over already"] < 90 * MEBI
    assert found["there before"] < 16 * MEBI
    assert found["after an earlier one"] < 32 * MEBI


def test_where_the_system_does_not_tell_there_is_no_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_PROCESS", tmp_path / "nowhere")
    with peak_memory("cpu") as peak:
        torch.ones(3)
    assert peak.bytes is None
