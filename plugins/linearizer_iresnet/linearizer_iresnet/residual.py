"""The residual of an i-ResNet block."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import ConditionEmbedding, LipschitzConv2d, LipschitzLinear, Shape
from linearizer_core.condition import Condition


@final
class BoundedResidual(nn.Module):
    r""":math:`h(x) = W_n * \sigma(\dots \sigma(W_0 * x + e_y))`, Lipschitz with constant c.

    Each of its n + 1 layers has :math:`c^{1/(n+1)}`, and :math:`\sigma` has 1. Convolutions are 3x3. The last layer is zero at first. There is no inner
    shortcut as in the conditioner of a coupling: it would take up half of the constant.

    Arguments:
        in_shape: ``(C, H, W)`` for convolutions, ``(D,)`` for dense layers.
        width: hidden channels, even for ``maxmin``.
        depth: n - 1, layers beside the first and the last.
        contraction: c.
        activation: ``elu``, or ``maxmin`` (Anil et al., arXiv 1811.05381): the larger and the smaller of each pair of channels.
        categories: name and number of categories of the conditions to embed.

    Example:
        >>> import torch
        >>> residual = BoundedResidual((3,), width=8, depth=1, contraction=0.9, activation="maxmin", categories={})
        >>> residual(torch.ones(1, 3))
        tensor([[0., 0., 0.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(self, in_shape: Shape, *, width: int, depth: int, contraction: float, activation: str, categories: dict[str, int]) -> None:
        super().__init__()
        sizes = [in_shape[0], *[width] * (depth + 1), in_shape[0]]
        share = contraction ** (1 / (depth + 2))
        self.layers = nn.ModuleList(_layer(inputs, outputs, in_shape[1:], share) for inputs, outputs in pairwise(sizes))
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.activation = _ACTIVATIONS[activation]
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        first, *inner, last = self.layers
        h: Tensor = first(x)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        for layer in inner:
            h = layer(self.activation(h))
        output: Tensor = last(self.activation(h))
        return output


def _layer(inputs: int, outputs: int, grid: Shape, lipschitz: float) -> nn.Module:
    if not grid:
        return LipschitzLinear(inputs, outputs, lipschitz=lipschitz)
    height, width = grid
    return LipschitzConv2d(inputs, outputs, lipschitz=lipschitz, grid=(height, width))


def _maxmin(h: Tensor) -> Tensor:
    first, second = h.chunk(2, 1)
    return torch.cat([torch.maximum(first, second), torch.minimum(first, second)], 1)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"elu": functional.elu, "maxmin": _maxmin}
