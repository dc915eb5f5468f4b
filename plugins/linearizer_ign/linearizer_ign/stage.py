"""The loss of the idempotent network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.data import Batch
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_ign.config import ProjectionConfig
from linearizer_ign.corruption import corrupt


@final
class ProjectionStage(Stage):
    r"""Trains g, and A where it learns, so that data are fixed points of :math:`f = g^{-1} A g` and damaged data come back to them.

    .. math::
        a\,d(g^{-1}(A(g(\tilde x) + \sigma e)), x) + b\,\overline{|z - Az|^2} + c\,(\overline{|Az|^2} / \mathrm{tr} A - 1)^2
        + r\,(\mathrm{tr} A - r_0)_+ / D + i\,\overline{\big|\,|z|^2 - |x - g^{-1}(0)|^2\,\big|} / D, \qquad z = g(x)

    The terms with a, r and i are those of arXiv 2510.08570 (idempotent networks). :math:`\tilde x` is damaged in some examples, e is standard normal noise; the
    terms with b and c are taken over undamaged examples. They keep the projector from having to choose between rank and reconstruction, and g from
    outgrowing the noise.
    """

    config: ProjectionConfig

    def __init__(self, config: ProjectionConfig, perceptual: PerceptualDistance | None) -> None:
        super().__init__("projection", config)
        self.perceptual = perceptual

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return [*model.gx.parameters(), *model.core.parameters()]

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        config, x, g = self.config, batch["x"], model.gx
        given, damaged = (x, torch.zeros(len(x), dtype=torch.bool, device=x.device)) if config.corruption is None else corrupt(x, config.corruption, generator)
        operator = model.core.operator()
        z = g(given)
        noise = torch.randn(z.shape, generator=generator, device=z.device, dtype=z.dtype)
        kept = operator(z)
        decoded = g.inverse(kept + config.latent_noise * operator(noise))

        clean = (~damaged).to(z.dtype)
        count, rank = clean.sum().clamp(min=1), operator.trace()
        distance = functional.l1_loss if config.distance == "l1" else functional.mse_loss
        terms = {
            "reconstruction": distance(decoded, x),
            "residual": (clean * (z - kept).square().mean(1)).sum() / count,
            "scale": ((clean * kept.square().sum(1)).sum() / count / rank.detach().clamp(min=1) - 1).square(),
        }
        loss = config.reconstruction_weight * terms["reconstruction"] + config.residual_weight * terms["residual"] + config.scale_weight * terms["scale"]
        if config.rank_weight:
            loss = loss + config.rank_weight * (rank - config.rank_target).clamp(min=0) / z.shape[1]
        if config.isometry_weight:
            origin = g.inverse(torch.zeros_like(z[:1]))
            terms["isometry"] = (clean * (z.square().mean(1) - (given - origin).square().flatten(1).mean(1)).abs()).sum() / count
            loss = loss + config.isometry_weight * terms["isometry"]
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(decoded, x)
            loss = loss + config.perceptual_weight * terms["perceptual"]
        return {"loss": loss, **terms, "rank": rank.detach()}
