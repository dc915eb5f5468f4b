"""The identity plus low rank, one for each category."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.operators import IdentityPlusLowRank
from linearizer_operators.categories import Categories
from linearizer_operators.config import IdentityPlusLowRankConfig
from linearizer_operators.shapes import square_dim


@final
class IdentityPlusLowRankCore(CoreOperator):
    r""":math:`A_s = I + U_s V_s^T`, U and V of shape ``(D, r)``, one pair for each category of a condition. Starts as the identity.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.
        ConfigError: for more than one condition.

    Example:
        >>> from linearizer_operators.config import IdentityPlusLowRankConfig
        >>> core = IdentityPlusLowRankCore((8, 8), IdentityPlusLowRankConfig(rank=2))
        >>> core.operator()
        IdentityPlusLowRank(8 x 8, float32)
    """

    def __init__(self, shape: tuple[int, int], config: IdentityPlusLowRankConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape, conditions=conditions)
        dim = square_dim(type(self).__name__, shape, config.rank)
        self.categories = Categories(type(self).__name__, conditions)
        self.left = nn.Parameter(torch.zeros(self.categories.count, dim, config.rank))
        self.right = nn.Parameter(torch.randn(self.categories.count, dim, config.rank) / dim**0.5)

    def operator(self, condition: Condition | None = None) -> IdentityPlusLowRank:
        chosen = self.categories.chosen(condition)
        return IdentityPlusLowRank(1.0, self.left[chosen], self.right[chosen])

    def extra_repr(self) -> str:
        return f"{self.shape[0]}, rank={self.left.shape[2]}"
