"""Networks of the time t in [0, 1]."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn


class TimeNetwork(nn.Module):
    r"""A small residual network on the features :math:`t, \sin(\pi k t), \cos(\pi k t)`, k = 1 to ``frequencies``: ``(B,)`` to ``(B, outputs)``.

    Example:
        >>> import torch
        >>> TimeNetwork(6, width=8, frequencies=2)(torch.tensor([0.0, 0.5])).shape
        torch.Size([2, 6])
    """

    wave_numbers: Tensor

    def __init__(self, outputs: int, *, width: int, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("wave_numbers", math.pi * torch.arange(1, frequencies + 1), persistent=False)
        self.hidden = nn.Linear(1 + 2 * frequencies, width)
        self.inner = nn.Linear(width, width)
        self.output = nn.Linear(width, outputs)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None] * self.wave_numbers
        features = torch.cat([t[:, None], angles.sin(), angles.cos()], dim=1)
        hidden = nn.functional.silu(self.hidden(features))
        return cast(Tensor, self.output(hidden + nn.functional.silu(self.inner(hidden))))

    def at_times(self, times: Tensor) -> Tensor:
        """The outputs at ``times`` ``(N,)`` of any dtype and device, ``(N, outputs)``."""
        return cast(Tensor, self(times.to(self.output.weight)))

    def at(self, t: float) -> Tensor:
        """The outputs at one time, ``(outputs,)``."""
        return self.at_times(torch.tensor([t], dtype=torch.float64))[0]
