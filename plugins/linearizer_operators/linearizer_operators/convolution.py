"""Circular convolutions, one for each category."""

from __future__ import annotations

import copy
import math
from typing import Self, final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.cores import LatentShape, SpatialCore, nearest_grid
from linearizer_core.errors import ConfigError
from linearizer_core.operators import Convolution, ScaledIdentity
from linearizer_operators.categories import Categories
from linearizer_operators.config import ConvolutionConfig
from linearizer_operators.shapes import square_dim


@final
class ConvolutionCore(SpatialCore):
    r""":math:`A_s = I + K_s *`, a circular convolution of latents (C, H, W), with one kernel K for each category of a condition. Starts near the identity.

    The kernel is full, depthwise, or :math:`K(q) = U(q) V^T` with ``rank`` channels in between. Its weights serve latents of any height and width (`on`);
    made of a shape (D, D) alone, the core assumes the grid nearest to a square. The inverse is exact, frequency by frequency
    (`linearizer_core.operators.Convolution`); arXiv 2510.08570 makes depthwise kernels from the number of the style by a network.

    Raises:
        ShapeMismatchError: for a shape that is not square.
        ConfigError: when D is no multiple of ``channels``, for a rank above the channels, or more than one condition.

    Example:
        >>> from linearizer_operators.config import ConvolutionConfig
        >>> core = ConvolutionCore((48, 48), ConvolutionConfig(channels=12))
        >>> core.latent, core.on((12, 3, 5)).operator()
        ((12, 2, 2), Convolution(180 x 180, float32))
    """

    def __init__(self, shape: tuple[int, int], config: ConvolutionConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape, conditions=conditions)
        dim = square_dim(type(self).__name__, shape)
        channels = config.channels or _fewest_channels(dim)
        if dim % channels:
            raise ConfigError(f"core.channels = {channels} does not divide {dim}, the dimension of the latent; give the number of channels of the latent")
        if config.rank is not None and config.rank > channels:
            raise ConfigError(f"core.rank = {config.rank} with {channels} channels, expected at most as many; lower it, or leave it out for a full kernel")
        self.latent: LatentShape = (channels, *nearest_grid(dim // channels))
        self.categories = Categories(type(self).__name__, conditions)
        groups, size = (channels, 1) if config.depthwise else (1, channels)
        inner, scale = config.rank or size, 0.01 / config.kernel
        self.kernel = nn.Parameter(scale * torch.randn(self.categories.count, groups, size, inner, config.kernel, config.kernel))
        self.mixing = nn.Parameter(torch.randn(self.categories.count, inner, size) / inner**0.5) if config.rank is not None else None

    def on(self, latent: LatentShape) -> Self:
        if latent[0] != self.latent[0]:
            raise ConfigError(f"core.channels is {self.latent[0]}, the latent of the backbone has {latent[0]}: {latent}; set core.channels = {latent[0]}")
        view = copy.copy(self)
        view.latent, view.shape = latent, (math.prod(latent), math.prod(latent))
        return view

    def operator(self, condition: Condition | None = None) -> Convolution:
        chosen = self.categories.chosen(condition)
        kernel: Tensor = self.kernel[chosen]
        if self.mixing is not None:
            kernel = torch.einsum("gorhw,ri->goihw", kernel, self.mixing[chosen])
        deviation = Convolution(kernel, self.latent[1:])
        result = deviation + ScaledIdentity(1.0, self.shape[0], dtype=kernel.dtype, device=kernel.device)
        assert isinstance(result, Convolution)
        return result

    def extra_repr(self) -> str:
        return f"latent={self.latent}, kernel={tuple(self.kernel.shape[1:])}"


def _fewest_channels(dim: int) -> int:
    return next(channels for channels in range(1, dim + 1) if dim % channels == 0 and math.isqrt(dim // channels) ** 2 == dim // channels)
