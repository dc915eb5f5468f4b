"""Time grids, and the rule by which they end."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor

from linearizer_core.errors import ConfigError

Terminal = Literal["early", "last_step", "limit"]
"""How a flow ends: ``early`` stops one step short, as published; ``last_step`` takes the solver's own last step to the end; ``limit`` takes the regular
form of the core, which is not singular at t = 1."""

TERMINALS: tuple[Terminal, ...] = get_args(Terminal)


def time_grid(steps: int, terminal: Terminal = "early", *, start: float = 0.0, stop: float = 1.0) -> Tensor:
    r"""Equally spaced float64 times from ``start``, with steps of :math:`h = (\texttt{stop} - \texttt{start}) / \texttt{steps}`.

    ``early`` is the published rule (arXiv 2510.08570): ``steps - 1`` of these steps, so that the grid ends at ``stop`` - h. ``last_step`` and ``limit`` go to
    ``stop`` in all ``steps``. For a partial flow give ``start`` and ``stop``; only at 1 is there something to stop short of.

    Raises:
        ConfigError: for another rule, when there would be no step, or unless 0 <= ``start`` < ``stop`` <= 1.

    Example:
        >>> from linearizer_core.operators.flow import time_grid
        >>> time_grid(4).tolist(), time_grid(4, "limit").tolist()
        ([0.0, 0.25, 0.5, 0.75], [0.0, 0.25, 0.5, 0.75, 1.0])
        >>> time_grid(2, "last_step", start=0.5, stop=0.75).tolist()
        [0.5, 0.625, 0.75]
    """
    if terminal not in TERMINALS:
        raise ConfigError(f"time_grid: terminal is {terminal!r}, expected one of: {', '.join(TERMINALS)}")
    least = 2 if terminal == "early" else 1
    if steps < least:
        raise ConfigError(f"time_grid: {steps} steps, expected at least {least}; the rule 'early' leaves the last one out, 'last_step' and 'limit' do not")
    if not 0 <= start < stop <= 1:
        raise ConfigError(f"time_grid: start is {start} and stop {stop}, expected 0 <= start < stop <= 1")
    times = start + (stop - start) * (torch.arange(steps + 1, dtype=torch.float64) / steps)
    times[-1] = stop
    return times[:-1] if terminal == "early" else times


def grid_times(grid: Tensor) -> list[float]:
    """The times of a grid, as numbers.

    Raises:
        ConfigError: for a grid that is not an increasing sequence of at least two times.
    """
    times: list[float] = grid.tolist() if grid.ndim == 1 else []
    if len(times) < 2 or not all(start < stop for start, stop in pairwise(times)):
        raise ConfigError(f"time grid of shape {tuple(grid.shape)}: expected at least two increasing times; time_grid makes one")
    return times
