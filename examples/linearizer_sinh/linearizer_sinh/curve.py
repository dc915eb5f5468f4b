"""The sinh-arcsinh curve as a bijection."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import TractableBijection, full_precision
from linearizer_core.condition import Condition


@final
class SinhArcsinh(TractableBijection):
    r""":math:`z = \sinh(e^{l} \,\mathrm{asinh}(x) - e)` in each coordinate, with skew e and log-tail l learned; the identity at first.

    :math:`l = b \tanh(h/b)` keeps the tail weight within :math:`e^{\pm b}`, on which the conditioning of the inverse depends.

    Arguments:
        in_shape: shape of one example.
        tail_bound: b.

    Reference:
        Jones and Pewsey, Sinh-arcsinh distributions, Biometrika 96(4), 2009.

    Example:
        >>> import torch
        >>> curve = SinhArcsinh((2,), tail_bound=0.5)
        >>> x = torch.tensor([[1.0, -3.0]])
        >>> torch.allclose(curve(x), x)
        True
    """

    def __init__(self, in_shape: tuple[int, ...], *, tail_bound: float) -> None:
        super().__init__(in_shape)
        self.tail_bound = tail_bound
        self.skew = nn.Parameter(torch.zeros(self.in_shape))
        self.raw_log_tail = nn.Parameter(torch.zeros(self.in_shape))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        skew, log_tail = self._parameters_for(x)
        with full_precision(x):
            before = x.asinh()
            after = log_tail.exp() * before - skew
            return after.sinh(), self._logdet(before, after, log_tail)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        skew, log_tail = self._parameters_for(z)
        with full_precision(z):
            after = z.asinh()
            before = (-log_tail).exp() * (after + skew)
            return before.sinh(), -self._logdet(before, after, log_tail)

    def _parameters_for(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_tail = self.tail_bound * torch.tanh(self.raw_log_tail / self.tail_bound)
        return self.skew.to(x.dtype), log_tail.to(x.dtype)

    def _logdet(self, before: Tensor, after: Tensor, log_tail: Tensor) -> Tensor:
        # dz/dx = cosh(after) e^l / cosh(before), since d asinh(x)/dx = 1/cosh(asinh(x))
        return (log_tail + _log_cosh(after) - _log_cosh(before)).flatten(1).sum(1)


def _log_cosh(v: Tensor) -> Tensor:
    # cosh itself overflows float32 at 89
    return v.abs() + nn.functional.softplus(-2 * v.abs()) - math.log(2)
