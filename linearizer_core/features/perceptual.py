"""A perceptual distance on the features of a pretrained timm model."""

from __future__ import annotations

from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.config import PerceptualConfig
from linearizer_core.errors import ConfigError, DataError

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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
        import timm

        if not timm.is_model(config.model):
            raise ConfigError(f"timm has no model {config.model!r}; timm.list_models() names them all")
        try:
            features = timm.create_model(config.model, pretrained=config.weights is None, features_only=True)
        except (OSError, RuntimeError, ValueError) as error:  # no network, no pretrained weights, or a kind of model without feature maps
            raise DataError(
                f"perceptual.model = {config.model!r} cannot be made: {error}; with network access its weights come from the Hub, without it set "
                "perceptual.weights to a safetensors file"
            ) from error
        if config.weights is not None:
            _load(features, config)
        available = len(cast(Any, features.feature_info).channels())
        if config.layers > available:
            raise ConfigError(f"{config.model} gives {available} feature maps, perceptual.layers asks for {config.layers}; lower it")
        self.features = features.eval().requires_grad_(False)
        self.layers, self.size = config.layers, config.size
        self._mean = nn.Buffer(torch.tensor(_MEAN).view(1, 3, 1, 1))
        self._std = nn.Buffer(torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean distance of two batches ``(B, C, H, W)``, a scalar; differentiable in ``x``, not in the reference ``y``."""
        if self._mean.device != x.device:
            self.to(x.device)
        with torch.no_grad():
            reference = self._maps(y)
        distances = [
            (functional.normalize(a, dim=1) - functional.normalize(b, dim=1)).square().sum(1).mean() for a, b in zip(self._maps(x), reference, strict=True)
        ]
        return torch.stack(distances).sum()

    def train(self, mode: bool = True) -> PerceptualDistance:
        return super().train(False)  # batch statistics stay those of pretraining

    def _maps(self, x: Tensor) -> list[Tensor]:
        x = functional.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=False)
        maps: list[Tensor] = self.features((x.expand(-1, 3, -1, -1) - self._mean) / self._std)
        return maps[: self.layers]


def _load(features: nn.Module, config: PerceptualConfig) -> None:
    try:
        weights = load_file(str(config.weights))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"perceptual.weights = {config.weights} cannot be read as safetensors ({error}); save the model's weights with safetensors.torch.save_file"
        ) from error
    wanted = features.state_dict()
    missing = [name for name in wanted if name not in weights]
    if missing:
        raise DataError(
            f"{config.weights} lacks {len(missing)} tensors of {config.model}, the first is {missing[0]!r}; save the weights under timm's key names"
        )
    try:
        features.load_state_dict({name: weights[name] for name in wanted})
    except RuntimeError as error:
        raise DataError(f"{config.weights} does not fit {config.model}: {error}; name the model the weights were saved from") from error
