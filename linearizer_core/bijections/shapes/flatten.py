"""Images as flat latents."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor

from linearizer_core.bijections.base import Shape, VolumePreserving
from linearizer_core.condition import Condition


@final
class Flatten(VolumePreserving):
    r"""``(B, *in_shape)`` to ``(B, D)``, in row-major order. Exact to the bit.

    Arguments:
        in_shape: shape of one example.

    Example:
        >>> import torch
        >>> Flatten((1, 2, 3))(torch.zeros(5, 1, 2, 3)).shape
        torch.Size([5, 6])
    """

    bit_exact = True

    def __init__(self, in_shape: Shape) -> None:
        super().__init__(in_shape, (math.prod(in_shape),))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x.flatten(1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return z.reshape(len(z), *self.in_shape)
