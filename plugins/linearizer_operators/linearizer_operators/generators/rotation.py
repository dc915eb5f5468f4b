"""Generators that rotate pairs of coordinates, at constant frequencies or at frequencies that depend on invariants."""

from __future__ import annotations

from typing import cast, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import full_precision
from linearizer_core.condition import Condition
from linearizer_core.cores import GeneratorCore
from linearizer_core.operators import DecayRotation
from linearizer_core.operators.decay_rotation import evolve_pairs
from linearizer_operators.config import GeneratorConfig
from linearizer_operators.generators.decay import PACE, parameter_of, rates_of, spread

_SLOW = 0.01


@final
class RotationGenerator(GeneratorCore):
    r"""Blocks that decay at :math:`a_k` and rotate at :math:`b_k`, and real rates for the coordinates left over.

    A conservative one has a = 0 and rests on what is left over, so the squared radii :math:`I_k = |z_k|^2` of its pairs are invariants. Then, and only
    then, the frequencies may depend on them, :math:`b_k = \beta_k + \nu_k(1/(1 + I))` with a small network :math:`\nu`: every orbit has its own linear
    generator, and :math:`f_t(z) = e^{tA(I(z))} z` is a flow because I is constant along it. That is a continuous spectrum (Lusch, Kutz and Brunton,
    arXiv 1712.09707, whose auxiliary network also sees radii that change, which is no flow).
    """

    rates: Tensor
    rest: Tensor

    def __init__(self, dim: int, config: GeneratorConfig) -> None:
        super().__init__(dim, controls=config.controls)
        self.spectrum = config.spectrum
        left_over = dim % 2 if config.real is None else config.real + (dim - config.real) % 2
        pairs = (dim - left_over) // 2
        if config.harmonics is None:
            start = config.frequency * torch.arange(1, pairs + 1) / max(pairs, 1)
        else:
            start = config.frequency * (torch.arange(pairs) % (config.harmonics + 1)).to(torch.get_default_dtype())
        self.frequencies = nn.Parameter(start / PACE)
        if config.spectrum == "conservative":
            self.register_buffer("rates", torch.zeros(pairs))
            self.register_buffer("rest", torch.zeros(left_over))
        else:
            slow = torch.full((pairs,), _SLOW * config.decay)
            self.rates = nn.Parameter(parameter_of(slow, config.spectrum))
            rest = parameter_of(spread(config.decay, left_over), config.spectrum)
            if left_over:
                self.rest = nn.Parameter(rest)
            else:
                self.register_buffer("rest", rest)
        self.network: nn.Sequential | None = None
        if config.frequency_network is not None:
            width = config.frequency_network
            self.network = nn.Sequential(nn.Linear(pairs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, pairs))

    def operator(self, condition: Condition | None = None) -> DecayRotation:
        return self._generator(torch.zeros_like(self.frequencies))

    def generator_at(self, z: Tensor) -> DecayRotation:
        return self._generator(self._invariants(z))

    def evolve(self, z: Tensor, t: float | Tensor) -> Tensor:
        if self.network is None:
            return super().evolve(z, t)
        times = torch.as_tensor(t, dtype=torch.float64, device=z.device)
        frequencies = self._frequencies(self._invariants(z)).double()
        dtype = torch.promote_types(z.dtype, self.frequencies.dtype)
        return evolve_pairs(z.double(), times, self.rates.double(), frequencies, self.rest.double()).to(dtype)

    def _generator(self, invariants: Tensor) -> DecayRotation:
        return DecayRotation(rates_of(self.rates, self.spectrum), self._frequencies(invariants), rates_of(self.rest, self.spectrum))

    def _invariants(self, z: Tensor) -> Tensor:
        """The squared radii of the pairs, ``(..., P)``."""
        size = 2 * len(self.frequencies)
        return z[..., 0:size:2].square() + z[..., 1:size:2].square()

    def _frequencies(self, invariants: Tensor) -> Tensor:
        if self.network is None:
            return PACE * self.frequencies
        with full_precision(invariants):
            return PACE * self.frequencies + cast(Tensor, self.network((1 / (1 + invariants)).to(self.frequencies.dtype)))

    def extra_repr(self) -> str:
        return f"{self.dim}, {self.spectrum}, pairs={len(self.frequencies)}"
