"""Categorical conditions as vectors."""

from __future__ import annotations

from functools import reduce
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition, require_label


@final
class ConditionEmbedding(nn.Module):
    r"""The sum :math:`\sum_c E_c[y_c]` over categorical conditions c, entries drawn from :math:`N(0, 0.5^2)`.

    Arguments:
        categories: name and number of categories of each condition, at least one.
        width: size of the result, ``(B, width)``.

    Raises:
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> embed = ConditionEmbedding({"label": 10}, width=8)
        >>> embed(Condition(label=torch.tensor([1, 2])), 2).shape
        torch.Size([2, 8])
    """

    def __init__(self, categories: dict[str, int], *, width: int) -> None:
        super().__init__()
        self.categories = dict(categories)
        self.tables = nn.ParameterDict({name: 0.5 * torch.randn(count, width) for name, count in categories.items()})

    def forward(self, condition: Condition | None, batch: int) -> Tensor:
        rows: Tensor = reduce(torch.add, (self.tables[name][require_label(condition, name, count, batch)] for name, count in self.categories.items()))
        return rows

    def added_to(self, h: Tensor, condition: Condition | None) -> Tensor:
        """``h`` of shape ``(B, width, ...)`` plus the result at every position, in the dtype of ``h``."""
        rows: Tensor = self(condition, len(h)).to(h.dtype)
        return h + rows.reshape(*rows.shape, *(1,) * (h.ndim - 2))
