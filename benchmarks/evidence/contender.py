"""What a model has to offer to be compared with others."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, final

from torch import Tensor

from linearizer_core.data import Splits

TIMED = 64
"""Images of a timed draw."""
Steps = Mapping[str, int]
"""Optimiser steps, by stage."""


@final
@dataclass(frozen=True)
class Cost:
    """What a stage of training costs on this machine.

    Arguments:
        step: seconds of one step.
        start: seconds before the first one, on the whole training split.
    """

    step: float
    start: float = 0.0


@final
@dataclass(frozen=True)
class Draw:
    """Images ``(N, C, H, W)`` in [0, 1], as far as the model keeps to that, and the labels asked for, ``(N,)``, where any were."""

    images: Tensor
    labels: Tensor | None = None


class Contender(ABC):
    """A generator of images in training, for one data set and one seed."""

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Weights, all networks together, each once."""

    @abstractmethod
    def cost(self, splits: Splits, window: int) -> dict[str, Cost]:
        """What each stage costs, from ``window`` steps of it; leaves the contender unfit for anything else."""

    @abstractmethod
    def train(self, splits: Splits, folder: Path) -> dict[str, float]:
        """Train, or read from ``folder`` what was trained there; seconds that it took, by stage."""

    @abstractmethod
    def ways(self) -> dict[str, int]:
        """The ways to sample: a name, and how often the network is evaluated for one sample."""

    @abstractmethod
    def draw(self, way: str, count: int, *, temperature: float = 1.0, seed: int = 0) -> Draw:
        """Samples, as many of each label where the model takes labels."""

    def examine(self, splits: Splits) -> dict[str, Any]:
        """What can be said of this kind of model alone: errors of what is exact in theory, and ``sampling_seconds``, of `TIMED` images, by way."""
        return {}


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of a call, all threads together: the median of three, after one that does not count."""
    taken = []
    for _ in range(4):
        began = time.process_time()
        call()
        taken.append(time.process_time() - began)
    return median(taken[1:])
