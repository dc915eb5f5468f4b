"""Rates of decay that a constraint keeps from growing."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_operators.config import Spectrum

PACE = 10.0
"""Rates and frequencies are so many times their parameters, and move so many times as far in a step: they are few and have far to go, weights are many."""


def rates_of(parameter: Tensor, spectrum: Spectrum) -> Tensor:
    """Rates from their parameters: as they are, or minus the softplus, which is below 0."""
    return -functional.softplus(PACE * parameter) if spectrum == "stable" else PACE * parameter


def parameter_of(decay: Tensor, spectrum: Spectrum) -> Tensor:
    """The parameters at which the rates are minus ``decay``, positive numbers."""
    return (decay.expm1().log() if spectrum == "stable" else -decay) / PACE


def spread(largest: float, count: int) -> Tensor:
    """``count`` rates of decay, evenly spread on a logarithmic scale over two decades up to ``largest``; the largest comes last."""
    return largest * 100 ** -torch.arange(count).flip(0).div(max(count - 1, 1))
