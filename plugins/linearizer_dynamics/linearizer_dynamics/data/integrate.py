"""A solver of ordinary differential equations for many trajectories at once, each at times of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linearizer_dynamics.data.systems import System

LARGEST_STEP = 0.0025
"""Of the Runge-Kutta method of order four: for the systems here its error lies below 1e-8, under the rounding of the float32 in which states are kept."""


def integrate(system: System, start: Tensor, times: Tensor, control: Tensor | None = None, *, largest_step: float = LARGEST_STEP) -> Tensor:
    """States ``(N, T, n)`` at increasing ``times`` ``(N, T)`` after ``start`` ``(N, n)``, float64; ``control`` ``(N, T, m)`` holds up to each of the times.

    Steps are no longer than ``largest_step``.

    Example:
        >>> from linearizer_dynamics.data.systems import slow_manifold
        >>> start, times = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[1.0, 2.0]], dtype=torch.float64)
        >>> integrate(slow_manifold(-1.0, -3.0), start, times)[0, :, 0]
        tensor([0.3679, 0.1353], dtype=torch.float64)
    """
    state, states = start, []
    lengths = times.diff(dim=1, prepend=torch.zeros_like(times[:, :1]))
    for number, length in enumerate(lengths.unbind(1)):
        pieces = max(1, math.ceil(length.max().item() / largest_step))
        step = length[:, None] / pieces
        push = 0.0 if control is None or system.entry is None else control[:, number] @ system.entry.mT
        for _ in range(pieces):
            first = system.field(state) + push
            second = system.field(state + step / 2 * first) + push
            third = system.field(state + step / 2 * second) + push
            fourth = system.field(state + step * third) + push
            state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
        states.append(state)
    return torch.stack(states, dim=1)
