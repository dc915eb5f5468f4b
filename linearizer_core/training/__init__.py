"""Training on Accelerate: one process or many, exact resume, nothing pickled.

`train` runs a configuration from data to report; `fit` is the loop on objects already built. The pieces: `StageSampler` (data order),
`learning_rate` (schedule), `WeightAverage` (EMA), `CheckpointFolder` (crash-safe checkpoints).
"""

from __future__ import annotations

from linearizer_core.training.average import WeightAverage
from linearizer_core.training.checkpoint import CheckpointFolder, TrainingState
from linearizer_core.training.loop import FitResult, fit
from linearizer_core.training.sampler import StageSampler
from linearizer_core.training.schedule import averaging_decay, learning_rate
from linearizer_core.training.tracking import read_metrics

__all__ = [
    "CheckpointFolder",
    "FitResult",
    "StageSampler",
    "TrainingState",
    "WeightAverage",
    "averaging_decay",
    "fit",
    "learning_rate",
    "read_metrics",
]
