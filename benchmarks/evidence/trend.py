"""How quality grows with parameters and training: a power law through all points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch


@final
@dataclass(frozen=True)
class Trend:
    r""":math:`y \approx c\, n^a\, t^b`, least squares of logarithms.

    Arguments:
        constant: c.
        of_parameters: a, the exponent of parameters n.
        of_seconds: b, the exponent of seconds t of training.
        explained: which part of the variance of log y this accounts for.
    """

    constant: float
    of_parameters: float
    of_seconds: float
    explained: float

    def __call__(self, parameters: float, seconds: float) -> float:
        return self.constant * parameters**self.of_parameters * seconds**self.of_seconds


def fit_trend(parameters: Sequence[float], seconds: Sequence[float], values: Sequence[float]) -> Trend:
    """The trend of positive ``values``, of which there must be more than three.

    Example:
        >>> sizes, times = [1e6, 1e6, 4e6, 4e6], [100.0, 400.0, 100.0, 400.0]
        >>> trend = fit_trend(sizes, times, [3 * n**-0.25 * t**-0.5 for n, t in zip(sizes, times)])
        >>> round(trend.of_parameters, 6), round(trend.of_seconds, 6), round(trend(1e6, 100.0), 6)
        (-0.25, -0.5, 0.009487)
    """
    columns = torch.tensor([[1.0, math.log(n), math.log(t)] for n, t in zip(parameters, seconds, strict=True)], dtype=torch.float64)
    target = torch.tensor([math.log(value) for value in values], dtype=torch.float64)
    constant, of_parameters, of_seconds = torch.linalg.lstsq(columns, target[:, None]).solution[:, 0].tolist()
    rest = target - columns @ torch.tensor([constant, of_parameters, of_seconds], dtype=torch.float64)
    return Trend(math.exp(constant), of_parameters, of_seconds, 1 - float(rest.var(correction=0) / target.var(correction=0)))
