"""The conditioner of couplings on images that sees the whole image at several resolutions."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.bijections.conditioners.resnet import ResidualBlock
from linearizer_core.condition import Condition


@final
class UNetConditioner(nn.Module):
    r"""Down by halvings and up again, with a `ResidualBlock` at each resolution on both ways, and sums in place of concatenated skips.

    .. math:: d_0 = R(W_0 * x + e_y),\; d_{i+1} = R(D_i * d_i),\; u_n = d_n,\; u_i = R(d_i + U_i * \mathrm{up}(u_{i+1})),\; \text{output } W * \sigma(u_0)

    with :math:`W = 0` at first. Ronneberger et al., arXiv 1505.04597, without normalisation, dropout and batch statistics. A side of odd
    length n is halved to (n + 1) / 2, so any image will do.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``.
        width: hidden channels at full resolution; they double with each halving.
        depth: number of halvings.
        categories: name and number of categories of the conditions to embed.

    Raises:
        ConditionError: in the call, when a condition is missing or out of range.

    Example:
        >>> import torch
        >>> UNetConditioner(2, 4, width=8)(torch.randn(1, 2, 7, 5)).shape
        torch.Size([1, 4, 7, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int, depth: int = 2, categories: dict[str, int] | None = None) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.first = nn.Conv2d(in_channels, width, 3, padding=1)
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.halvings = nn.ModuleList(nn.Conv2d(fine, 2 * fine, 3, stride=2, padding=1) for fine in widths[:-1])
        self.doublings = nn.ModuleList(nn.Conv2d(2 * fine, fine, 1) for fine in widths[:-1])
        self.down = nn.ModuleList(ResidualBlock(each) for each in widths)
        self.up = nn.ModuleList(ResidualBlock(fine) for fine in widths[:-1])
        self.last = nn.Conv2d(width, out_channels, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        h: Tensor = self.first(x)  # (B, width, H, W)
        if self.embedding is not None:
            h = self.embedding.added_to(h, condition)
        h = self.down[0](h)
        finer: list[Tensor] = []
        for halve, block in zip(self.halvings, self.down[1:], strict=True):
            finer.append(h)
            h = block(halve(functional.silu(h)))
        for double, block, skip in zip(reversed(self.doublings), reversed(self.up), reversed(finer), strict=True):
            h = functional.interpolate(double(functional.silu(h)), scale_factor=2.0, mode="nearest")
            h = block(skip + h[..., : skip.shape[-2], : skip.shape[-1]])
        output: Tensor = self.last(functional.silu(h))
        return output
