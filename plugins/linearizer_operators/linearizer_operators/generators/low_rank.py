"""Generators that move a subspace and leave its complement at rest."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import GeneratorCore
from linearizer_core.operators import LowRank
from linearizer_operators.config import GeneratorConfig
from linearizer_operators.generators.dissipative import dissipative_matrix, dissipative_parameters


@final
class LowRankGenerator(GeneratorCore):
    r""":math:`A = U V^T` of rank k, whose exponential costs k dimensions.

    Stable and conservative ones are :math:`A = U M U^T`, with M as in a dense generator of that spectrum: :math:`z^T A z = (U^T z)^T M (U^T z) \le 0`.
    """

    def __init__(self, dim: int, config: GeneratorConfig) -> None:
        super().__init__(dim, controls=config.controls)
        self.spectrum, self.rank = config.spectrum, config.rank
        basis, _ = torch.linalg.qr(torch.randn(dim, config.rank))
        self.left = nn.Parameter(basis)
        if config.spectrum == "free":
            self.right = nn.Parameter(basis @ (config.frequency * torch.randn(config.rank, config.rank) / config.rank**0.5))
        else:
            self.skew, self.root = dissipative_parameters(config.rank, config)

    def operator(self, condition: Condition | None = None) -> LowRank:
        if self.spectrum == "free":
            return LowRank(self.left, self.right)
        return LowRank(self.left @ dissipative_matrix(self.skew, self.root), self.left)

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.spectrum}, rank={self.rank}"
