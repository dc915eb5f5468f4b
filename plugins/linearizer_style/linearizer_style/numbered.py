"""The published core, to compare with: kernels that depend on the number of the style."""

from __future__ import annotations

import copy
import math
from typing import Self, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.condition import Condition, require_label
from linearizer_core.cores import LatentShape, SpatialCore, nearest_grid
from linearizer_core.errors import ConfigError, ShapeMismatchError
from linearizer_core.operators import Convolution
from linearizer_style.config import StyleNumberConfig

_SIDE = 4


@final
class StyleNumberCore(SpatialCore):
    r""":math:`A_s = k(s) *`: depthwise 4x4 kernels that a network makes from the number s of the style (arXiv 2510.08570, modular style transfer).

    Styles between two others are asked for by a number between theirs (`at`), so half-way between styles 0 and 2 is style 1: numbers have an order, styles have
    none. The core ``convolution`` mixes matrices in its place. Starts near the identity.

    Raises:
        ShapeMismatchError: for a shape that is not square.
        ConfigError: for more than one condition, or a dimension that is no multiple of ``channels``.

    Example:
        >>> from linearizer_style.config import StyleNumberConfig
        >>> core = StyleNumberCore((48, 48), StyleNumberConfig(channels=12), {"label": 3})
        >>> halfway, second = core.at((0 + 2) / 2), core.operator(Condition(label=torch.tensor([1])))
        >>> torch.equal(halfway.kernel, second.kernel)
        True
    """

    def __init__(self, shape: tuple[int, int], config: StyleNumberConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape, conditions=conditions)
        if shape[0] != shape[1]:
            raise ShapeMismatchError(f"StyleNumberCore: shape {shape}, expected (D, D); use one size of pictures on both sides")
        if len(self.conditions) > 1:
            raise ConfigError(f"StyleNumberCore: conditions {sorted(self.conditions)}, expected one at most, the style")
        channels = config.channels or next(
            each for each in range(1, shape[0] + 1) if shape[0] % each == 0 and math.isqrt(shape[0] // each) ** 2 == shape[0] // each
        )
        if shape[0] % channels:
            raise ConfigError(f"core.channels = {channels} does not divide {shape[0]}, the dimension of the latent; give the number of channels of the latent")
        self.latent: LatentShape = (channels, *nearest_grid(shape[0] // channels))
        self.network = nn.Sequential(nn.Linear(1, config.width), nn.SiLU(), nn.Linear(config.width, config.width), nn.SiLU())
        self.output = nn.Linear(config.width, channels * _SIDE**2)
        with torch.no_grad():
            self.output.weight.mul_(0.1)
            self.output.bias.copy_(functional.pad(torch.ones(channels, 1, 1), (2, 1, 2, 1)).flatten())

    def on(self, latent: LatentShape) -> Self:
        if latent[0] != self.latent[0]:
            raise ConfigError(f"core.channels is {self.latent[0]}, the latent of the backbone has {latent[0]}: {latent}; set core.channels = {latent[0]}")
        view = copy.copy(self)
        view.latent, view.shape = latent, (math.prod(latent), math.prod(latent))
        return view

    def at(self, number: float) -> Convolution:
        """The operator of any number, whole or not."""
        weight = self.output.weight
        features = self.network(torch.tensor([number + 1], dtype=weight.dtype, device=weight.device))  # from 1, so that the first style trains all weights
        kernel: Tensor = self.output(features).view(self.latent[0], 1, 1, _SIDE, _SIDE)
        # An even side has no middle: one more row and column of zeros gives it one.
        return Convolution(functional.pad(kernel, (0, 1, 0, 1)), self.latent[1:])

    def operator(self, condition: Condition | None = None) -> Convolution:
        name, count = next(iter(self.conditions.items()), ("", 1))
        return self.at(float(require_label(condition, name, count, 1)[0]) if name else 0.0)
