"""The conditioner of couplings on vectors."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.bijections.contractive.lipschitz import LipschitzShares, linear_layer
from linearizer_core.condition import Condition


@final
class MLPConditioner(nn.Module):
    r""":math:`h_0 = \sigma(W_0 x + e_y),\; h_{i} = h_{i-1} + \sigma(W_i h_{i-1})`, output :math:`W h` with :math:`W = 0` at first.

    :math:`\sigma` is SiLU. It has no dropout and no batch statistics: the inverse of a coupling has to see the same function.

    Arguments:
        in_features: size of the kept part.
        out_features: size of the output, ``(B, out_features)``.
        width: hidden size.
        depth: number of residual blocks.
        categories: name and number of categories of the conditions to embed.
        lipschitz: c, for an output with :math:`|f(x, y) - f(x', y)| \le c\, |x - x'|` under any condition y; an additive coupling then has gain at most
            :math:`(c + \sqrt{c^2 + 4}) / 2`, in both directions and everywhere. No bound when None. See `LipschitzLinear` for how firm it is.

    Raises:
        BijectionError: when c is not positive.
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> MLPConditioner(3, 2, width=8)(torch.randn(1, 3))
        tensor([[0., 0.]], grad_fn=<AddmmBackward0>)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int,
        depth: int = 1,
        categories: dict[str, int] | None = None,
        lipschitz: float | None = None,
    ) -> None:
        super().__init__()
        shares = LipschitzShares.of(lipschitz, blocks=depth)
        self.first = linear_layer(in_features, width, shares.first)
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.blocks = nn.ModuleList(linear_layer(width, width, shares.block) for _ in range(depth))
        self.last = linear_layer(width, out_features, shares.last)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h: Tensor = self.first(x)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        h = functional.silu(h)
        for block in self.blocks:
            h = h + functional.silu(block(h))
        output: Tensor = self.last(h)
        return output
