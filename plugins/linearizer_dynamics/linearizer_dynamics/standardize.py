"""Shift and scale of states, fitted to data."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import Shape, TractableBijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.figures.images import is_image


@final
class Standardize(TractableBijection):
    r""":math:`z = (x - m) / s` with mean and deviation of each coordinate, or of each channel of images; the identity until `fit` is called.

    A coordinate that never changes keeps its scale, s = 1.

    Example:
        >>> import torch
        >>> standardize = Standardize((2,))
        >>> standardize.fit(torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> standardize(torch.tensor([[3.0, 0.0]]))
        tensor([[1., 0.]])
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape)
        shape = (self.in_shape[0], 1, 1) if is_image(self.in_shape) else self.in_shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and deviation from states ``(N, *in_shape)``."""
        self.check_input(x)
        axes = (0, 2, 3) if self.mean.shape != self.in_shape else (0,)
        wide = x.double()
        deviation = wide.std(axes, correction=0).view(self.mean.shape)
        self.mean.copy_(wide.mean(axes).view(self.mean.shape))
        self.deviation.copy_(torch.where(deviation > 0, deviation, 1))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        with full_precision(x):
            return (x - self.mean) / self.deviation, -self._logdet(x)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        with full_precision(z):
            return z * self.deviation + self.mean, self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        return self.deviation.log().expand(self.in_shape).sum().expand(len(x))
