"""The residual conditioner of couplings on images."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.condition import Condition


@final
class ResidualBlock(nn.Module):
    r""":math:`h + W_2 * \sigma(W_1 * \sigma(h))` with 3x3 kernels and :math:`\sigma` = SiLU; He et al., arXiv 1603.05027, without normalisation.

    A normalisation divides by the deviation of its input, and has no bound where the input is flat.

    Arguments:
        width: channels of input and output.

    Example:
        >>> import torch
        >>> ResidualBlock(4)(torch.randn(1, 4, 3, 5)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        branch: Tensor = self.second(functional.silu(self.first(functional.silu(h))))
        return h + branch


@final
class ResNetConditioner(nn.Module):
    r""":math:`h_0 = W_0 * x + e_y`, then `ResidualBlock` s, and the output :math:`W * \sigma(h)` with :math:`W = 0` at first.

    Twice as deep as `ConvConditioner` for the same number of blocks: it sees ``2 * depth + 2`` pixels far. No dropout, no batch statistics.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``.
        width: hidden channels.
        depth: number of residual blocks.
        categories: name and number of categories of the conditions to embed.

    Raises:
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> ResNetConditioner(2, 4, width=8)(torch.randn(1, 2, 3, 5)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, depth: int = 2, categories: dict[str, int] | None = None) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(depth))
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h: Tensor = self.first(x)  # (B, width, H, W)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        for block in self.blocks:
            h = block(h)
        output: Tensor = self.last(functional.silu(h))
        return output
