"""Style transfer by optimisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, final

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import ConfigError
from linearizer_core.figures.files import read_picture
from linearizer_core.timm_models import IMAGENET_MEAN, IMAGENET_STD, frozen_timm_model
from linearizer_style.config import GatysConfig


@final
class Gatys:
    r"""The pixels that have the content of a picture and the texture of a style picture, found by optimisation (Gatys, Ecker, Bethge, arXiv 1508.06576).

    .. math::
        w_c\, \|\phi_c(y) - \phi_c(x)\|^2 + w_s \sum_l \|G_l(y) - G_l(s)\|^2 + w_t\, \mathrm{TV}(y)

    :math:`\phi` are feature maps of a timm model, G the Gram matrices of their channels, all terms relative to the size of what they compare with. The style
    picture is scaled like the content, so that its shorter side is that of the images. Starts from the content; nothing is random.

    Raises:
        DataError: when the style picture or the weights cannot be read.
        ConfigError: when timm has no such model, or it gives fewer feature maps than ``layers``.
    """

    def __init__(self, picture: Path, config: GatysConfig) -> None:
        self.picture, self.config = picture, config
        self._features = frozen_timm_model(config.model, config.weights, option="gatys", features_only=True)
        available = len(cast(Any, self._features.feature_info).channels())
        if config.layers > available:
            raise ConfigError(f"{config.model} gives {available} feature maps, gatys.layers asks for {config.layers}; lower it")

    def __call__(self, images: Tensor) -> Tensor:
        """Stylised images ``(N, 3, H, W)`` of images in [0, 1]."""
        config = self.config
        style = read_picture(self.picture, min(images.shape[2:]))[None].to(images)
        with torch.no_grad():
            content = self.maps(images)[-1]
            targets = [gram(each) for each in self.maps(style)]
        with torch.enable_grad():
            pixels = images.clone().requires_grad_()
            optimizer = torch.optim.Adam([pixels], lr=config.lr)
            for _ in range(config.steps):
                found = self.maps(pixels)
                style_terms = [_relative(gram(each), target.expand(len(images), -1, -1)) for each, target in zip(found, targets, strict=True)]
                variation = pixels.diff(dim=2).abs().mean() + pixels.diff(dim=3).abs().mean()
                loss = config.content_weight * _relative(found[-1], content) + torch.stack(style_terms).mean() + config.variation_weight * variation
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                with torch.no_grad():
                    pixels.clamp_(0, 1)
        return pixels.detach()

    def maps(self, images: Tensor) -> list[Tensor]:
        """The leading feature maps of images ``(N, 3, H, W)`` in [0, 1], finest first."""
        mean, std = (torch.tensor(values).view(1, 3, 1, 1).to(images) for values in (IMAGENET_MEAN, IMAGENET_STD))
        found: list[Tensor] = self._features.to(images.device)((images - mean) / std)
        return found[: self.config.layers]


def gram(features: Tensor) -> Tensor:
    """The Gram matrices ``(N, C, C)`` of feature maps ``(N, C, H, W)``: mean products of channels over all places."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def _relative(found: Tensor, wanted: Tensor) -> Tensor:
    return functional.mse_loss(found, wanted) / wanted.square().mean()
