"""Training on Accelerate: one process or many, exact resume, nothing pickled.

`train` runs a configuration from data to report; `fit` is the loop on objects already built. The pieces: `StageSampler` (data order),
`learning_rate` and `averaging_decay` (schedules), `WeightAverage` (EMA), `CheckpointFolder` (crash-safe checkpoints), `read_metrics`,
`lipschitz_penalty` (of the bijections that `trained_bijections` finds).

Names load their modules on first use: a mistake on the command line shows before torch is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linearizer_core.training.average import WeightAverage
    from linearizer_core.training.checkpoint import CheckpointFolder, TrainingState
    from linearizer_core.training.loop import FitResult, fit
    from linearizer_core.training.regularizer import lipschitz_penalty, trained_bijections
    from linearizer_core.training.run import RunSummary, train
    from linearizer_core.training.sampler import StageSampler
    from linearizer_core.training.schedule import averaging_decay, learning_rate
    from linearizer_core.training.tracking import read_metrics

__all__ = [
    "CheckpointFolder",
    "FitResult",
    "RunSummary",
    "StageSampler",
    "TrainingState",
    "WeightAverage",
    "averaging_decay",
    "fit",
    "learning_rate",
    "lipschitz_penalty",
    "read_metrics",
    "train",
    "trained_bijections",
]

_MODULES = {
    "average": ("WeightAverage",),
    "checkpoint": ("CheckpointFolder", "TrainingState"),
    "loop": ("FitResult", "fit"),
    "regularizer": ("lipschitz_penalty", "trained_bijections"),
    "run": ("RunSummary", "train"),
    "sampler": ("StageSampler",),
    "schedule": ("averaging_decay", "learning_rate"),
    "tracking": ("read_metrics",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
