"""Networks of the time t in [0, 1]."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from linearizer_core.bijections import ConditionEmbedding
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError


class TimeNetwork(nn.Module):
    r"""A small residual network on the features :math:`t, \sin(\pi k t), \cos(\pi k t)`, k = 1 to ``frequencies``: ``(B,)`` to ``(B, outputs)``.

    Categorical conditions, where there are ``categories``, are embedded and added to the first hidden layer.

    Example:
        >>> import torch
        >>> TimeNetwork(6, width=8, frequencies=2)(torch.tensor([0.0, 0.5])).shape
        torch.Size([2, 6])
    """

    wave_numbers: Tensor

    def __init__(self, outputs: int, *, width: int, frequencies: int, categories: dict[str, int] | None = None) -> None:
        super().__init__()
        self.register_buffer("wave_numbers", math.pi * torch.arange(1, frequencies + 1), persistent=False)
        self.hidden = nn.Linear(1 + 2 * frequencies, width)
        self.inner = nn.Linear(width, width)
        self.output = nn.Linear(width, outputs)
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None

    def forward(self, t: Tensor, condition: Condition | None = None) -> Tensor:
        angles = t[:, None] * self.wave_numbers
        features = torch.cat([t[:, None], angles.sin(), angles.cos()], dim=1)
        hidden = self.hidden(features)
        if self.embedding is not None:
            hidden = self.embedding.added_to(hidden, condition)
        hidden = nn.functional.silu(hidden)
        return cast(Tensor, self.output(hidden + nn.functional.silu(self.inner(hidden))))

    def at_times(self, times: Tensor, condition: Condition | None = None) -> Tensor:
        """The outputs at ``times`` ``(N,)`` of any dtype and device, under one row of the conditions: ``(N, outputs)``.

        Raises:
            ConditionError: for several rows.
        """
        if self.embedding is not None and condition is not None and (many := {name: len(rows) for name, rows in condition.items() if len(rows) != 1}):
            raise ConditionError(f"conditions of {many} rows, expected 1 row: at one condition there is one operator for each time; give one row at a time")
        return cast(Tensor, self(times.to(self.output.weight), condition))
