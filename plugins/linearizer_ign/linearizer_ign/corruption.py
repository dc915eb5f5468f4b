"""Damage done to images in [0, 1], each image by a random amount."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_ign.config import CorruptionConfig

Corruption = Callable[[Tensor, torch.Generator], Tensor]

_REFERENCE = 28
_GREY = 0.5


def add_noise(x: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of standard ``deviation`` ``(B,)``."""
    return x + _column(deviation, x) * torch.randn(x.shape, generator=generator, device=x.device)


def blur(x: Tensor, deviation: Tensor) -> Tensor:
    """A Gaussian blur of standard ``deviation`` ``(B,)``, in pixels; edges are mirrored."""
    reach = max(1, min(int(3 * deviation.max().ceil()), min(x.shape[-2:]) - 1))
    places = torch.arange(-reach, reach + 1, device=x.device)
    weights = torch.exp(-(places**2) / (2 * deviation.clamp(min=1e-3)[:, None] ** 2))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(x.shape[1], 0)
    for axis in (-2, -1):
        shape = [1, 1]
        shape[axis] = 2 * reach + 1
        padding = [0, 0, reach, reach] if axis == -2 else [reach, reach, 0, 0]
        padded = functional.pad(x, padding, mode="reflect").flatten(0, 1)[None]
        x = functional.conv2d(padded, weights.view(-1, 1, *shape), groups=len(weights))[0].view(x.shape)
    return x


def occlude(x: Tensor, share: Tensor, generator: torch.Generator) -> Tensor:
    """A grey square whose side is a ``share`` ``(B,)`` of the image's, somewhere in the image."""
    height, width = x.shape[-2:]
    inside = torch.ones(len(x), height, width, dtype=torch.bool, device=x.device)
    for axis, size in ((1, height), (2, width)):
        side = (share * size).round()
        start = (torch.rand(len(x), generator=generator, device=x.device) * (size - side + 1)).floor()
        places = torch.arange(size, device=x.device)
        within = (places >= start[:, None]) & (places < (start + side)[:, None])
        inside = inside & (within[:, :, None] if axis == 1 else within[:, None, :])
    return torch.where(inside[:, None], _GREY, x)


def invert(x: Tensor) -> Tensor:
    """Dark and bright exchanged."""
    return 1 - x


def corrupt(x: Tensor, config: CorruptionConfig, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images of which some are damaged, each in one way and by its own amount; and which they are, ``(B,)``."""
    amount = torch.rand(len(x), generator=generator, device=x.device)
    pixels = x.shape[-1] / _REFERENCE
    ways: list[Tensor] = []
    if config.noise:
        ways.append(add_noise(x, config.noise * amount, generator))
    if config.blur:
        ways.append(blur(x, config.blur * pixels * amount))
    if config.occlusion:
        ways.append(occlude(x, config.occlusion * amount, generator))
    if config.inversion:
        ways.append(invert(x))
    damaged = torch.rand(len(x), generator=generator, device=x.device) < (config.share if ways else 0)
    if not ways:
        return x, damaged
    way = torch.randint(len(ways), (len(x),), generator=generator, device=x.device)
    chosen = torch.stack(ways)[way, torch.arange(len(x), device=x.device)]
    return torch.where(_column(damaged, x), chosen, x), damaged


def _column(values: Tensor, x: Tensor) -> Tensor:
    return values.view(-1, *[1] * (x.ndim - 1))
