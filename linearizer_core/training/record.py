"""The facts of a run: how long, how large, on what, with which code."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import linearizer_core
from linearizer_core.config import TrainingConfig
from linearizer_core.model import LinearizerModel
from linearizer_core.training.loop import FitResult

__all__ = ["run_facts"]


def run_facts(model: LinearizerModel, config: TrainingConfig, result: FitResult, accelerator: Accelerator) -> dict[str, Any]:
    """What ``run.json`` holds. ``seconds`` by stage add up over resumes and include checkpoints and sample grids; ``peak_memory`` is what tensors took of a
    GPU at most since the last resume, in bytes, and None on a CPU."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "steps": result.steps,
        "seconds": result.seconds,
        "resumed_from": result.resumed_from,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seed": config.seed,
        "mixed_precision": config.mixed_precision,
        "processes": accelerator.num_processes,
        "hardware": {"device": device.type, "name": name, "cpu_cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "peak_memory": torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
        "versions": {"linearizer": linearizer_core.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "commit": source_commit(),
    }


def source_commit() -> str | None:
    """The commit of the source tree this code runs from, with ``-dirty`` where it was changed; None for an installed package."""
    here = Path(__file__)
    try:
        # An installed copy may lie in somebody else's repository: only a tracked file tells about this code.
        _git(here.parent, "ls-files", "--error-unmatch", here.name)
        return _git(here.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
