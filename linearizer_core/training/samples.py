"""Pictures in the course of training."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from linearizer_core.data import Splits
from linearizer_core.errors import LinearizerError
from linearizer_core.figures.images import save_grid
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Task
from linearizer_core.training.seeds import derive_seed

__all__ = ["write_preview"]


def write_preview(task: Task, model: LinearizerModel, splits: Splits, path: Path, *, seed: int, device: torch.device) -> None:
    """Write what the task shows of itself as a PNG. The noise is the same for every grid of a run; no random state of the process is touched.

    A task that cannot show anything yet, because a later stage fits what it needs, costs a warning and no picture.
    """
    devices = [device] if device.type == "cuda" else []
    generator = torch.Generator(device).manual_seed(derive_seed(seed, "samples"))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices):
            images = task.preview(model, splits, generator)
    except LinearizerError as error:
        warnings.warn(f"no samples at {path.stem}: {error}", stacklevel=2)
        return
    if images is not None:
        save_grid(images, path)
