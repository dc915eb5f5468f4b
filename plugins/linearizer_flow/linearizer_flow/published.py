"""The published objective (arXiv 2510.08570), with its four terms."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.cores import TimeDependentCore
from linearizer_core.data import Batch
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Stage
from linearizer_flow.config import PublishedStageConfig
from linearizer_flow.sampling import LABEL, any_label, flow_core


class PublishedStage(Stage):
    r"""End-point prediction and the reconstruction of noise and data, with weight 1 each.

    .. math::
        |A_t z_t - z_1|^2 + |x_0 - g_x^{-1}(z_0 + \sigma e)|^2 + d(x_1, g_y^{-1}(z_1 + \sigma e)) + d(x_1, g_y^{-1}(A_t z_t))

    :math:`z_0 = g_x(x_0)` of noise, :math:`z_1 = g_y(x_1)` of data, :math:`z_t = (1 - t) z_0 + t z_1`, t uniform; d is a perceptual distance, or the
    mean squared error. The paper writes the two bijections the other way round; here gx always belongs to the domain of f, which is noise.
    """

    config: PublishedStageConfig

    def __init__(self, config: PublishedStageConfig, perceptual: PerceptualDistance | None) -> None:
        super().__init__("published", config)
        self.perceptual = perceptual

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        data = batch["x"]

        def gaussian(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

        core = self._core(model, batch, generator)
        noise = gaussian(data)
        start, end = model.gx(noise).flatten(1), model.gy(data).flatten(1)
        time = torch.rand(len(data), generator=generator, device=data.device, dtype=data.dtype)
        point = (1 - time[:, None]) * start + time[:, None] * end
        predicted = core.predict(point, time)
        sigma = self.config.latent_noise
        terms = {
            "end_point": functional.mse_loss(predicted, end),
            "noise": functional.mse_loss(self._decode(model.gx, start + sigma * gaussian(start)), noise),
            "data": self._distance(self._decode(model.gy, end + sigma * gaussian(end)), data),
            "prediction": self._distance(self._decode(model.gy, predicted), data),
        }
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}

    def _core(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> TimeDependentCore:
        """The core under the labels, some of them hidden."""
        core = flow_core(model)
        if LABEL not in core.conditions:
            return core
        label = batch["label"]
        hidden = torch.rand(label.shape, generator=generator, device=label.device) < self.config.label_dropout
        return core.given(Condition(label=torch.where(hidden, any_label(core), label)))

    @staticmethod
    def _decode(bijection: Bijection, latent: Tensor) -> Tensor:
        return bijection.inverse(latent.reshape(len(latent), *bijection.out_shape))

    def _distance(self, decoded: Tensor, data: Tensor) -> Tensor:
        return functional.mse_loss(decoded, data) if self.perceptual is None else self.perceptual(decoded, data)
