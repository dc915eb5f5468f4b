"""Times of several things in turn, A B A B, so that what slows the machine down slows all of them down."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch


@final
@dataclass(frozen=True)
class Spread:
    """The repeats of one measurement.

    Example:
        >>> slow, fast = Spread((6.0, 8.0, 4.0)), Spread((2.0, 2.0, 2.0))
        >>> slow.median, slow.over(fast).samples
        (6.0, (3.0, 4.0, 2.0))
    """

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def least(self) -> float:
        return min(self.samples)

    @property
    def most(self) -> float:
        return max(self.samples)

    def over(self, other: Spread) -> Spread:
        """The ratio, repeat by repeat: both were measured in turn."""
        return Spread(tuple(mine / theirs for mine, theirs in zip(self.samples, other.samples, strict=True)))

    def times(self, factor: float) -> Spread:
        return Spread(tuple(factor * sample for sample in self.samples))

    def inverse(self) -> Spread:
        return Spread(tuple(1 / sample for sample in self.samples))

    def to_dict(self) -> dict[str, Any]:
        return {"median": self.median, "least": self.least, "most": self.most, "samples": list(self.samples)}


def synchronize(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def seconds(function: Callable[[], object], device: str, calls: int = 1) -> float:
    """Seconds of one call."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(calls):
        function()
    synchronize(device)
    return (time.perf_counter() - start) / calls


def interleaved(
    cases: Mapping[str, Callable[[], object]], repeats: int, *, device: str = "cpu", warm_up: bool = True, least_seconds: float = 0.0
) -> dict[str, Spread]:
    """Seconds of each case, taking turns ``repeats`` times. A case shorter than ``least_seconds`` is called several times in each of its turns."""
    calls = dict.fromkeys(cases, 1)
    if warm_up:
        for name, case in cases.items():
            # A first call may load kernels; only one that is long anyway tells enough.
            if seconds(case, device) < 10 * least_seconds:
                calls[name] = math.ceil(least_seconds / seconds(case, device))
    samples: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, case in cases.items():
            samples[name].append(seconds(case, device, calls[name]))
    return {name: Spread(tuple(values)) for name, values in samples.items()}
