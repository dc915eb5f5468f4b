"""Generators that let every coordinate grow or decay by itself."""

from __future__ import annotations

from typing import final

from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import GeneratorCore
from linearizer_core.operators import Diagonal
from linearizer_operators.config import GeneratorConfig
from linearizer_operators.generators.decay import parameter_of, rates_of, spread


@final
class DiagonalGenerator(GeneratorCore):
    r""":math:`A = \mathrm{diag}(a)`, real rates; :math:`a = -\mathrm{softplus}(p) < 0` where the spectrum is stable."""

    def __init__(self, dim: int, config: GeneratorConfig) -> None:
        super().__init__(dim, controls=config.controls)
        self.spectrum = config.spectrum
        self.rates = nn.Parameter(parameter_of(spread(config.decay, dim), config.spectrum))

    def operator(self, condition: Condition | None = None) -> Diagonal:
        return Diagonal(rates_of(self.rates, self.spectrum))

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.spectrum}"
