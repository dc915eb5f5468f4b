"""Conditioners in exact arithmetic: for every example the same bits, whatever the batch, the number of threads, the device."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor, nn

from linearizer_core.bijections import ConditionEmbedding
from linearizer_core.condition import Condition
from linearizer_lattice.exact_layers import ExactArithmetic, ExactConv, ExactLayer, ExactLinear


class ExactConditioner(nn.Module):
    """What both conditioners share: the first layer with its embedded conditions, and residual steps, all on grids."""

    first: ExactLayer

    def __init__(self, arithmetic: ExactArithmetic, categories: dict[str, int] | None, width: int) -> None:
        super().__init__()
        self.arithmetic = arithmetic
        # One table each: the sum of their rows is formed on the grid, where it is exact.
        self.embeddings = nn.ModuleList(ConditionEmbedding({name: count}, width=width) for name, count in (categories or {}).items())

    def enter(self, x: Tensor, condition: Condition | None) -> Tensor:
        """The first hidden activations of the kept part."""
        arithmetic = self.arithmetic
        h: Tensor = self.first(arithmetic.activation(x.to(arithmetic.dtype), low=-arithmetic.activation_bound))
        for embedding in self.embeddings:
            rows = self.first.on_grid(embedding(condition, len(x)))
            h = h + rows.reshape(*rows.shape, *(1,) * (h.ndim - 2))
        return arithmetic.activation(h)

    def add(self, h: Tensor, products: Tensor) -> Tensor:
        """A residual step: both terms lie on the grid of activations, so that their sum does."""
        return self.arithmetic.activation(h + self.arithmetic.activation(products))


@final
class ExactMLPConditioner(ExactConditioner):
    r""":math:`h_0 = q(W_0\, q(x) + b_0 + e_y),\; h_i = q(h_{i-1} + q(W_i h_{i-1} + b_i))`, output :math:`W h + b`, zero at first.

    For vectors; the counterpart of `MLPConditioner` without a rounded sum: q is ReLU, clamped and rounded to the grid of activations.
    Gradients are those of the clamped ReLU (straight-through).

    Arguments:
        in_features: size of the kept part.
        out_features: size of the output, ``(B, out_features)``, in the dtype of the arithmetic.
        width: hidden size.
        arithmetic: the grids.
        depth: number of residual blocks.
        categories: name and number of categories of the conditions to embed.

    Raises:
        ConfigError: when the sums do not fit.
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> arithmetic = ExactArithmetic(weight_bits=12, activation_bits=12, activation_bound=4.0, dtype=torch.float64)
        >>> ExactMLPConditioner(3, 2, width=8, arithmetic=arithmetic)(torch.randn(1, 3)).tolist()
        [[0.0, 0.0]]
    """

    def __init__(
        self, in_features: int, out_features: int, *, width: int, arithmetic: ExactArithmetic, depth: int = 1, categories: dict[str, int] | None = None
    ) -> None:
        super().__init__(arithmetic, categories, width)
        self.first = ExactLinear(in_features, width, arithmetic, extra=len(self.embeddings))
        self.blocks = nn.ModuleList(ExactLinear(width, width, arithmetic) for _ in range(depth))
        self.last = ExactLinear(width, out_features, arithmetic)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h = self.enter(x, condition)
        for block in self.blocks:
            h = self.add(h, block(h))
        output: Tensor = self.last(h)
        return output


@final
class ExactConvConditioner(ExactConditioner):
    r"""The conditioner of `ExactMLPConditioner` with 3x3 convolutions, for images; optionally one dense step over all positions after the first layer.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``, in the dtype of the arithmetic.
        width: hidden channels.
        arithmetic: the grids.
        depth: number of residual blocks.
        token_mixing: ``(height, width)`` of the grid to mix over, or None for convolutions alone.
        categories: name and number of categories of the conditions to embed.

    Raises:
        ConfigError: when the sums do not fit.
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> arithmetic = ExactArithmetic(weight_bits=12, activation_bits=12, activation_bound=4.0, dtype=torch.float64)
        >>> ExactConvConditioner(2, 4, width=8, arithmetic=arithmetic)(torch.randn(1, 2, 3, 5)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        arithmetic: ExactArithmetic,
        depth: int = 1,
        token_mixing: tuple[int, int] | None = None,
        categories: dict[str, int] | None = None,
    ) -> None:
        super().__init__(arithmetic, categories, width)
        self.first = ExactConv(in_channels, width, arithmetic, extra=len(self.embeddings))
        self.mixing = ExactLinear(math.prod(token_mixing), math.prod(token_mixing), arithmetic) if token_mixing else None
        self.blocks = nn.ModuleList(ExactConv(width, width, arithmetic) for _ in range(depth))
        self.last = ExactConv(width, out_channels, arithmetic)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h = self.enter(x, condition)
        if self.mixing is not None:
            h = self.add(h, self.mixing(h.flatten(2)).reshape(h.shape))
        for block in self.blocks:
            h = self.add(h, block(h))
        output: Tensor = self.last(h)
        return output
