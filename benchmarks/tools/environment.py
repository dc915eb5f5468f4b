"""Where and with what something was measured."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import linearizer_core
from linearizer_core.training.record import source_commit

SEED = 0
"""The seed of all weights and inputs of the benchmarks."""


def environment(device: str, *, data: str, packages: Sequence[str] = ()) -> dict[str, Any]:
    """The facts of the machine and of the software; ``data`` says what went in, ``packages`` names further ones whose version matters."""
    cuda = torch.device(device).type == "cuda"
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if cuda else "CPU",
        "load": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "linearizer": linearizer_core.__version__,
            **{name: found for name in packages if (found := _version(name))},
        },
        "commit": source_commit(),
        "seed": SEED,
        "data": data,
    }


def cpu_model() -> str:
    """The processor as Linux names it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slug(device: str) -> str:
    """A device as part of a file name: empty for the CPU.

    Example:
        >>> slug("cpu")
        ''
    """
    if torch.device(device).type == "cpu":
        return ""
    name = torch.cuda.get_device_name(device).lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in name).split())


def sentence(facts: dict[str, Any]) -> str:
    """The environment as the line that ends a table; without a load where many runs had each its own."""
    load = f", load {facts['load']} at the start" if "load" in facts else ""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"Device: {facts['device']}. Processor: {facts['cpu']}, {facts['cores']} cores, {facts['threads']} threads{load}. "
        f"Versions: {versions}. Seed {facts['seed']}. Data: {facts['data']}."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
