"""Reordering of channels."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.base import Shape, VolumePreserving
from linearizer_core.condition import Condition


@final
class Permutation(VolumePreserving):
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

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x.index_select(1, self.get_buffer("permutation"))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return z.index_select(1, inverse_permutation(self.get_buffer("permutation")))


def inverse_permutation(permutation: Tensor) -> Tensor:
    """The order that undoes ``permutation``, in linear time: sorting would take longer than the reordering itself."""
    return torch.empty_like(permutation).scatter_(0, permutation, torch.arange(len(permutation), device=permutation.device))
