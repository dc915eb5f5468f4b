"""What moves one half of the channels in an i-RevNet."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import SILU_LIPSCHITZ, ConditionEmbedding, LipschitzConv2d
from linearizer_core.condition import Condition
from linearizer_core.errors import ConfigError


@final
class BottleneckConditioner(nn.Module):
    r""":math:`F(x) = W_3 * \sigma(W_2 * \sigma(W_1 * \sigma(x) + e_y))` with kernels 1x1, 3x3 and 1x1, and :math:`W_3 = 0` at first.

    After Jacobsen et al., arXiv 1802.07088. Pre-activation throughout, :math:`\sigma` is SiLU. With ``group_norm`` each :math:`\sigma` first normalises all
    channels and positions of one example together. Batch normalisation would make F another function in training than afterwards, and in the inverse than
    in the forward pass: there is none.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``.
        grid: ``(height, width)`` of x.
        width: channels between the convolutions.
        group_norm: normalise ahead of each activation.
        lipschitz: c, for an output with :math:`|F(x, y) - F(x', y)| \le c\, |x - x'|` under any condition y, see `LipschitzConv2d`; no bound when None.
        categories: name and number of categories of the conditions to embed.

    Raises:
        ConfigError: when both ``lipschitz`` and ``group_norm`` are given.
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> BottleneckConditioner(2, 4, grid=(3, 5), width=8)(torch.randn(1, 2, 3, 5)).shape
        torch.Size([1, 4, 3, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        grid: tuple[int, int],
        width: int,
        group_norm: bool = False,
        lipschitz: float | None = None,
        categories: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        if lipschitz is not None and group_norm:
            raise ConfigError(
                f"lipschitz = {lipschitz} with group_norm = true, whose gain on nearly constant images has no useful bound; leave one of them out"
            )
        self.norms = nn.ModuleList(nn.GroupNorm(1, channels) if group_norm else nn.Identity() for channels in (in_channels, width, width))
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        if lipschitz is None:
            self.reduce = nn.Conv2d(in_channels, width, 1)
            self.middle = nn.Conv2d(width, width, 3, padding=1)
            self.expand = nn.Conv2d(width, out_channels, 1)
        else:
            self.reduce = LipschitzConv2d(in_channels, width, 1, lipschitz=1 / SILU_LIPSCHITZ, grid=grid)
            self.middle = LipschitzConv2d(width, width, 3, lipschitz=1 / SILU_LIPSCHITZ, grid=grid)
            self.expand = LipschitzConv2d(width, out_channels, 1, lipschitz=lipschitz / SILU_LIPSCHITZ, grid=grid)
        for parameter in self.expand.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h: Tensor = self.reduce(functional.silu(self.norms[0](x)))  # (B, width, H, W)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        h = self.middle(functional.silu(self.norms[1](h)))
        output: Tensor = self.expand(functional.silu(self.norms[2](h)))
        return output
