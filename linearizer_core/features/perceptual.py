"""A perceptual distance on the features of a pretrained timm model."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.config import PerceptualConfig
from linearizer_core.errors import ConfigError
from linearizer_core.timm_models import IMAGENET_MEAN, IMAGENET_STD, frozen_timm_model


class PerceptualDistance(nn.Module):
    r"""The squared distance of channel-normalised feature maps, averaged over positions and summed over layers.

    .. math::
        d(x, y) = \sum_l \frac{1}{H_l W_l} \sum_{ij} \Big\| \frac{\phi_l(x)_{ij}}{\|\phi_l(x)_{ij}\|} - \frac{\phi_l(y)_{ij}}{\|\phi_l(y)_{ij}\|} \Big\|^2

    The unweighted form of LPIPS (Zhang et al., arXiv 1801.03924); frozen. Images are in [0, 1]; grey ones are repeated to three channels.

    Raises:
        ConfigError: when timm has no such model, or it gives fewer feature maps than ``config.layers``.
        DataError: when the weights cannot be fetched or read, or do not fit the model.
    """

    def __init__(self, config: PerceptualConfig) -> None:
        super().__init__()
        features = frozen_timm_model(config.model, config.weights, option="perceptual", features_only=True)
        available: list[int] = cast(Any, features.feature_info).channels()
        if config.layers > len(available):
            raise ConfigError(f"{config.model} gives {len(available)} feature maps, perceptual.layers asks for {config.layers}; lower it")
        self.features = features
        self.channels = available[: config.layers]
        self.layers, self.size = config.layers, config.size
        self._mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self._std = nn.Buffer(torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean distance of two batches ``(B, C, H, W)``, a scalar; differentiable in ``x``, not in the reference ``y``."""
        with torch.no_grad():
            reference = self.maps(y)
        return distance_of_maps(self.maps(x), reference)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The feature maps of ``(B, C, H, W)``, each ``(B, C_l, H_l, W_l)`` and of norm 1 at every position."""
        if self._mean.device != x.device:
            self.to(x.device)
        x = functional.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=False)
        maps: list[Tensor] = self.features((x.expand(-1, 3, -1, -1) - self._mean) / self._std)
        return [functional.normalize(each.float(), dim=1) for each in maps[: self.layers]]

    def train(self, mode: bool = True) -> PerceptualDistance:
        return super().train(False)  # batch statistics stay those of pretraining


def distance_of_maps(x: list[Tensor], y: list[Tensor]) -> Tensor:
    """The mean distance of two batches, given their normalised feature maps."""
    return torch.stack([(a - b).square().sum(1).mean() for a, b in zip(x, y, strict=True)]).sum()
