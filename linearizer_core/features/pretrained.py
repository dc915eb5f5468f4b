"""Image features for the Frechet distance: the pooled last features of a pretrained timm model."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.features.classifier import quantize
from linearizer_core.timm_models import IMAGENET_MEAN, IMAGENET_STD, frozen_timm_model


class PretrainedFeatures:
    """The pooled last features of a frozen timm model, for any images, labelled or not.

    Images are rounded to 8 bits first, as a file would hold them, grey ones are repeated to three channels, and all are scaled to ``size`` pixels.

    Args:
        model: name of a timm model, such as ``tf_efficientnet_lite0``.
        weights: local safetensors file with timm's key names; from the Hub when None.
        size: side to which images are scaled, bicubic.
        device: where to compute; features come back on the CPU.

    Raises:
        ConfigError: when timm has no such model.
        DataError: when the weights cannot be fetched or read, or do not fit the model.
        ModuleNotFoundError: without timm, which the extra ``timm`` installs.
    """

    def __init__(self, model: str, weights: Path | None = None, *, size: int = 224, device: torch.device | None = None) -> None:
        self.device = torch.device("cpu") if device is None else device
        self.size = size
        self._network = frozen_timm_model(model, weights, option="features", num_classes=0).to(self.device)
        self._mean, self._std = (torch.tensor(values, device=self.device).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        self.name = f"{model}-{size}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features ``(N, F)`` of images ``(N, C, H, W)`` in [0, 1], C 1 or 3."""
        return torch.cat([self._embed(chunk.to(self.device)).cpu() for chunk in torch.split(images, 250)])

    def _embed(self, images: Tensor) -> Tensor:
        x = functional.interpolate(quantize(images).expand(-1, 3, -1, -1), size=(self.size, self.size), mode="bicubic", antialias=True)
        features: Tensor = self._network((x - self._mean) / self._std)
        return features
