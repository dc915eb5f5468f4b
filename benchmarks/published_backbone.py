"""The published design of g, for comparison: Berman, Hallak, Shocher, arXiv 2510.08570. Written from its description; not meant for use.

Blocks of ActNorm, an unconstrained 1x1 convolution inverted by ``torch.linalg.inv``, and two affine couplings whose conditioners are small U-Nets and whose
log-scales are clamped hard at 5, after one 2x2 squeeze.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import ActNorm, Bijection, Chain, Coupling, Flatten, PixelSqueeze, TractableBijection, full_precision
from linearizer_core.condition import Condition

LOG_SCALE_LIMIT = 5.0
LEARNING_RATE = 1e-4
"""As published; at 1e-3 the design diverges."""


class FreeConvolution(TractableBijection):
    """A 1x1 convolution with any square matrix, orthogonal at first and free to become singular."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__(in_shape)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(in_shape[0], in_shape[0])))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            return torch.einsum("oc,bchw->bohw", self.weight, x), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            return torch.einsum("oc,bchw->bohw", torch.linalg.inv(self.weight), z), -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        return (torch.linalg.slogdet(self.weight).logabsdet * math.prod(self.in_shape[1:])).expand(len(x))


class ClampedCoupling(Coupling):
    """``x_b exp(clamp(h, -5, 5)) + t``."""

    outputs_per_channel = 2

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = _halves(output)
        return changed * log_scale.exp() + shift, log_scale.flatten(1).sum(1)

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = _halves(output)
        return (changed - shift) * (-log_scale).exp(), -log_scale.flatten(1).sum(1)


class SmallUNet(nn.Module):
    """Down once, up once, one skip connection; the last layer is zero at first."""

    def __init__(self, in_channels: int, out_channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(2 * width, width, 3, padding=1)
        self.last = nn.Conv2d(2 * width, out_channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        fine = functional.silu(self.enter(x))
        coarse = functional.silu(self.middle(functional.silu(self.down(fine))))
        up = functional.silu(self.up(functional.interpolate(coarse, size=x.shape[2:])))
        output: Tensor = self.last(torch.cat([fine, up], 1))
        return output


def published_backbone(in_shape: tuple[int, ...], *, couplings: int, width: int) -> Chain:
    """Half as many blocks as ``couplings``, from images ``(C, H, W)`` to a flat latent."""
    squeeze = PixelSqueeze(in_shape)
    shape = squeeze.out_shape
    bricks: list[Bijection] = [squeeze]
    for _ in range(couplings // 2):
        bricks += [ActNorm(shape), FreeConvolution(shape)]
        for flip in (False, True):
            kept = shape[0] // 2
            bricks.append(ClampedCoupling(shape, SmallUNet(kept, 2 * (shape[0] - kept), width), flip=flip))
    return Chain(*bricks, Flatten(shape))


def _halves(output: Tensor) -> tuple[Tensor, Tensor]:
    shift, raw = output.chunk(2, 1)
    return shift, raw.clamp(-LOG_SCALE_LIMIT, LOG_SCALE_LIMIT)
