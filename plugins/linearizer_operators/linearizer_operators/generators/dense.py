"""Generators with a full matrix."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import GeneratorCore
from linearizer_core.operators import Dense
from linearizer_operators.config import GeneratorConfig
from linearizer_operators.generators.dissipative import dissipative_matrix, dissipative_parameters


@final
class DenseGenerator(GeneratorCore):
    r"""Any matrix; or skew-symmetric minus semidefinite, :math:`A = S - R R^T` (stable: :math:`|e^{tA}| \le 1` for t >= 0); or S alone (conservative)."""

    def __init__(self, dim: int, config: GeneratorConfig) -> None:
        super().__init__(dim, controls=config.controls)
        self.spectrum = config.spectrum
        if config.spectrum == "free":
            self.matrix = nn.Parameter(config.frequency * torch.randn(dim, dim) / dim**0.5)
        else:
            self.skew, self.root = dissipative_parameters(dim, config)

    def operator(self, condition: Condition | None = None) -> Dense:
        return Dense(self.matrix if self.spectrum == "free" else dissipative_matrix(self.skew, self.root))

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.spectrum}"
