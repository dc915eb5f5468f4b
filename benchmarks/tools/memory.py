"""Peak memory, each figure from a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

MEBI = 2**20
_RETURN_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""glibc then gives freed memory back, so that the idle mark holds nothing that the measured part could use again unseen."""


@final
@dataclass
class Peak:
    """Bytes above what was in use when the measurement began."""

    bytes: int = 0


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """The peak inside the context: resident memory of this process, or what torch allocated on a GPU. Run the code once, on something small, before."""
    peak = Peak()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        idle = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device) - idle
    else:
        Path("/proc/self/clear_refs").write_text("5")  # resets the mark; getrusage would report the parent's
        idle = _status("VmRSS")
        yield peak
        peak.bytes = _status("VmHWM") - idle


def in_subprocess(module: str, device: str, case: dict[str, Any], launcher: Sequence[str] = ()) -> dict[str, Any]:
    """What ``python -m MODULE --worker CASE`` prints as its last line, as JSON. ``launcher`` goes between the interpreter and ``-m MODULE``.

    Raises:
        subprocess.CalledProcessError: when it fails; what it said is passed on to stderr.
    """
    command = [sys.executable, *launcher, "-m", module, "--device", device, "--worker", json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **_RETURN_AT_ONCE})
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _status(field: str) -> int:
    """A field of the process's memory status, in bytes: VmRSS, or VmHWM, the largest since the mark was reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
