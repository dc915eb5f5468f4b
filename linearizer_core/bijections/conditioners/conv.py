"""The conditioner of couplings on images."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.bijections.contractive.lipschitz import LipschitzShares, conv_layer, linear_layer
from linearizer_core.condition import Condition


@final
class ConvConditioner(nn.Module):
    r""":math:`h_0 = \sigma(W_0 * x + e_y)`, optionally :math:`h \mathrel{+}= \sigma(h M)` over all positions, then
    :math:`h_{i} = h_{i-1} + \sigma(W_i * h_{i-1})` and the output :math:`W * h` with :math:`W = 0` at first; :math:`\sigma` is SiLU.

    Kernels are 3x3. Token mixing (one dense matrix M over the positions, shared by the channels) lets every position see every other
    at once; it fixes the grid and costs ``(height * width) ** 2`` parameters. No dropout, no batch statistics.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``.
        width: hidden channels.
        depth: number of residual blocks.
        token_mixing: ``(height, width)`` of the grid to mix over, or None for convolutions alone.
        categories: name and number of categories of the conditions to embed.
        lipschitz: c, for an output with :math:`|f(x, y) - f(x', y)| \le c\, |x - x'|` under any condition y; an additive coupling then has gain at most
            :math:`(c + \sqrt{c^2 + 4}) / 2`, in both directions and everywhere. No bound when None. See `LipschitzConv2d` for how firm it is.
        grid: ``(height, width)`` on which the bound holds; that of the token mixing when None.

    Raises:
        BijectionError: when c is not positive, or has no grid.
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> ConvConditioner(2, 4, width=8, token_mixing=(3, 5))(torch.randn(1, 2, 3, 5)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        width: int,
        depth: int = 1,
        token_mixing: tuple[int, int] | None = None,
        categories: dict[str, int] | None = None,
        lipschitz: float | None = None,
        grid: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        shares, grid = LipschitzShares.of(lipschitz, blocks=depth + (token_mixing is not None)), grid or token_mixing
        self.first = conv_layer(in_channels, width, shares.first, grid)
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.mixing = linear_layer(math.prod(token_mixing), math.prod(token_mixing), shares.block) if token_mixing else None
        self.blocks = nn.ModuleList(conv_layer(width, width, shares.block, grid) for _ in range(depth))
        self.last = conv_layer(width, out_channels, shares.last, grid)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h: Tensor = self.first(x)  # (B, width, H, W)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        h = functional.silu(h)
        if self.mixing is not None:
            h = h + functional.silu(self.mixing(h.flatten(2))).reshape(h.shape)
        for block in self.blocks:
            h = h + functional.silu(block(h))
        output: Tensor = self.last(h)
        return output
