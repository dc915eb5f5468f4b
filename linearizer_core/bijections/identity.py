"""The bijection that changes nothing."""

from __future__ import annotations

from typing import final

from torch import Tensor

from linearizer_core.bijections.base import Shape, VolumePreserving
from linearizer_core.condition import Condition


@final
class Identity(VolumePreserving):
    r""":math:`g(x) = x`.

    Arguments:
        in_shape: shape of one example.

    Example:
        >>> import torch
        >>> Identity((2,))(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """

    bit_exact = True

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return z
