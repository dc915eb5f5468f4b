"""The conditioner made of timm's blocks: attention or large convolutions over patches."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from linearizer_core.bijections.conditioners.embedding import ConditionEmbedding
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError

NORM_EPS = 0.1
"""Added to the variance by every normalisation: before its learned weight, none amplifies more than 3.2 times, even where tokens hardly vary."""


class _LayerNorm(nn.LayerNorm):
    """Torch's own with `NORM_EPS`; that of timm has a global switch which lowers it to bfloat16."""

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(width, eps=NORM_EPS, **options)


@final
class TimmConditioner(nn.Module):
    r""":math:`h = W_0 P x + p + e_y`, then ``depth`` blocks of timm on h, and the output :math:`P^T W\,\mathrm{LN}(h)` with :math:`W = 0` at first.

    P cuts the image into patches, each a token; p is a learned embedding of their positions. Blocks are ``"vit"``, multi-head self-attention and an MLP
    (Dosovitskiy et al., arXiv 2010.11929) with normalised queries and keys (Henry et al., arXiv 2010.04245), which sees the whole image at once, or
    ``"convnext"``, a 7x7 depthwise convolution and an MLP (Liu et al., arXiv 2201.03545), which sees neighbours.

    Dot-product attention alone has no Lipschitz constant (Kim et al., arXiv 2006.04710). Here it reads normalised tokens only, and every normalisation adds
    0.1 to the variance, so the conditioner is bounded and Lipschitz on all inputs for any weights; how large the constant is depends on them. No dropout, no
    stochastic depth, no batch statistics. Attention is spelled out: the fused kernels are chosen by device, size and need for gradients, and cannot be
    differentiated twice.

    Arguments:
        in_channels: channels of the kept part.
        out_channels: channels of the output, ``(B, out_channels, H, W)``.
        block: kind of block.
        grid: ``(H, W)`` of the image.
        width: size of a token.
        depth: number of blocks.
        heads: attention heads of a ``"vit"`` block.
        patch: side of a patch.
        categories: name and number of categories of the conditions to embed.

    Raises:
        BijectionError: when patches do not tile the grid, when heads do not divide the width, or when a block of the installed timm is not deterministic.
        ConditionError: in the call, when a condition is missing or out of range.
        ModuleNotFoundError: without timm, which the extra ``timm`` installs.

    Example:
        >>> import torch
        >>> conditioner = TimmConditioner(2, 4, block="vit", grid=(6, 8), width=16, depth=1, patch=2)
        >>> conditioner(torch.randn(1, 2, 6, 8)).shape
        torch.Size([1, 4, 6, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        block: Literal["vit", "convnext"],
        grid: tuple[int, int],
        width: int,
        depth: int,
        heads: int = 4,
        patch: int = 1,
        categories: dict[str, int] | None = None,
    ) -> None:
        super().__init__()
        if grid[0] % patch or grid[1] % patch:
            raise BijectionError(f"TimmConditioner: patches of {patch}x{patch} do not tile a grid of {grid[0]}x{grid[1]}; choose a common divisor")
        if block == "vit" and width % heads:
            raise BijectionError(f"TimmConditioner: width {width} is no multiple of heads {heads}; change one of them")
        make = partial(_attention_block, heads=heads) if block == "vit" else _convolution_block
        self.patch = patch
        self.sees_image = block == "convnext"
        self.first = nn.Linear(in_channels * patch**2, width)
        # Of the size of a label's embedding: smaller ones would drown in what the normalisations add to the variance.
        self.positions = nn.Parameter(0.5 * torch.randn(grid[0] // patch, grid[1] // patch, width))
        self.embedding = ConditionEmbedding(categories, width=width) if categories else None
        self.blocks = nn.ModuleList(_deterministic(make(width)) for _ in range(depth))
        self.norm = _LayerNorm(width)
        self.last = nn.Linear(width, out_channels * patch**2)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        (batch, channels, height, width), patch = x.shape, self.patch
        grid = (height // patch, width // patch)
        # By hand what pixel_unshuffle and pixel_shuffle do: those leave an empty batch as it is.
        pixels = x.reshape(batch, channels, grid[0], patch, grid[1], patch).permute(0, 1, 3, 5, 2, 4)
        # Contiguous: for strided inputs torch chooses another product where the weights need a gradient, which may round otherwise.
        h: Tensor = self.first(pixels.flatten(1, 3).permute(0, 2, 3, 1).contiguous())  # (B, H / patch, W / patch, width)
        h = h + self.positions.to(h.dtype)
        if self.embedding is not None:
            h = h + self.embedding(condition, len(x)).to(h.dtype)[:, None, None]
        h = h.permute(0, 3, 1, 2) if self.sees_image else h.flatten(1, 2)
        for block in self.blocks:
            h = block(h)
        h = h.permute(0, 2, 3, 1) if self.sees_image else h.reshape(batch, *grid, h.shape[-1])
        output: Tensor = self.last(self.norm(h))
        pixels = output.reshape(batch, *grid, output.shape[-1] // patch**2, patch, patch)
        return pixels.permute(0, 3, 1, 4, 2, 5).reshape(batch, pixels.shape[3], height, width)


def _attention_block(width: int, *, heads: int) -> nn.Module:
    from timm.models.vision_transformer import Block

    block = Block(width, heads, qkv_bias=True, qk_norm=True, norm_layer=_LayerNorm)
    attention: Any = block.attn
    attention.fused_attn = False
    return block


def _convolution_block(width: int) -> nn.Module:
    from timm.models.convnext import ConvNeXtBlock

    return ConvNeXtBlock(width, ls_init_value=None, norm_layer=_LayerNorm)


def _deterministic(block: nn.Module) -> nn.Module:
    """The block without its idle dropouts; one that drops or gathers statistics is another function in training, and is refused."""
    for name, module in list(block.named_modules()):
        chance = getattr(module, "p", 0) if isinstance(module, _DropoutNd) else getattr(module, "drop_prob", 0)
        if chance or isinstance(module, _NormBase):
            raise BijectionError(
                f"TimmConditioner: {type(block).__name__} of the installed timm holds {name}, a {type(module).__name__}; "
                "a coupling inverts only what is the same function in training and evaluation; install another version of timm"
            )
        if isinstance(module, _DropoutNd):
            block.set_submodule(name, nn.Identity())
    return block
