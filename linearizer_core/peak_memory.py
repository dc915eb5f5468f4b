"""The peak of memory while something runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch

_PROCESS = Path("/proc/self")


@final
@dataclass
class Peak:
    """Bytes above what was in use when the measurement began; None where the system does not tell."""

    bytes: int | None = None


@contextmanager
def peak_memory(device: torch.device | str) -> Iterator[Peak]:
    """The peak inside the context: what torch allocated on a GPU, else the resident memory of this process, which Linux tells.

    Memory that the process was given before and holds unused counts for nothing, so the resident peak of a process that has worked before is a lower bound.

    Example:
        >>> with peak_memory("cpu") as peak:
        ...     large = torch.ones(1000, 1000)
        >>> peak.bytes is None or peak.bytes >= 0
        True
    """
    device, peak = torch.device(device), Peak()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        idle = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = torch.cuda.max_memory_allocated(device) - idle
        return
    try:
        (_PROCESS / "clear_refs").write_text("5")  # resets the mark; getrusage would report the parent's
        resident = _status("VmRSS")
    except OSError:
        yield peak
        return
    yield peak
    peak.bytes = max(0, _status("VmHWM") - resident)


def _status(field: str) -> int:
    """A field of the process's memory status, in bytes: VmRSS, or VmHWM, the largest since the mark was reset."""
    line = next(line for line in (_PROCESS / "status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024
