"""Reordering of channels."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.base import Shape, TractableBijection
from linearizer_core.condition import Condition


@final
class Permutation(TractableBijection):
    r""":math:`z_i = x_{\pi(i)}` along the first dimension, :math:`\pi` random and fixed. Exact to the bit.

    Arguments:
        in_shape: shape of one example; channels lie along its first dimension.
        seed: two permutations of one size and seed are equal.

    Example:
        >>> import torch
        >>> permutation = Permutation((4,), seed=0)
        >>> x = torch.randn(2, 4)
        >>> torch.equal(permutation.inverse(permutation(x)), x)
        True
    """

    bit_exact = True

    def __init__(self, in_shape: Shape, *, seed: int) -> None:
        super().__init__(in_shape)
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("permutation", torch.randperm(self.in_shape[0], generator=generator))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        return x.index_select(1, self.get_buffer("permutation")), x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        return z.index_select(1, self.get_buffer("permutation").argsort()), z.new_zeros(len(z))
