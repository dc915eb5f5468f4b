"""The loss of the style task."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, Subset

from linearizer_core.condition import Condition
from linearizer_core.data import Batch, stack
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import Stage
from linearizer_style.config import StyleStageConfig

LABEL = "label"
"""The condition that chooses the style."""


def style_operator(model: LinearizerModel, style: int) -> LinearOperator:
    """A_s, the operator of the style with this number."""
    return model.core.operator(Condition(**{LABEL: torch.tensor([style])}))


def stylise(model: LinearizerModel, x: Tensor, weights: Tensor) -> Tensor:
    r""":math:`g_y^{-1}(\sum_k w_k A_k\, g_x(x))` of a batch ``(B, 3, H, W)`` with the weights ``(B, K)`` of all styles, for each example. Differentiable."""
    latents = model.gx(x).flatten(1)
    mixed = torch.stack([weights[:, style, None] * style_operator(model, style)(latents) for style in range(weights.shape[1])]).sum(0)
    return model.gy.inverse(mixed.reshape(len(x), *model.gy.out_shape))


def one_style_each(label: Tensor, model: LinearizerModel) -> Tensor:
    """Weights 1 and 0 ``(B, K)``: for each example its own style. So no step waits for a device to tell how many examples each style has."""
    return functional.one_hot(label.long(), model.conditions[LABEL]).to(next(model.parameters()).dtype)


def spread(dataset: Dataset[Batch], count: int) -> Batch:
    """Up to ``count`` examples, evenly spread over the data set."""
    length = len(dataset)  # type: ignore[arg-type]
    return stack(Subset(dataset, sorted({number * length // count for number in range(count)})))


class StyleStage(Stage):
    r"""Stylised crops are predicted: :math:`w_p\, |f_s(x) - y|^2 + w_d\, d(f_s(x), y)` over pixels and, where one is configured, a perceptual distance d."""

    config: StyleStageConfig

    def __init__(self, config: StyleStageConfig, perceptual: PerceptualDistance | None) -> None:
        super().__init__("pairs", config)
        self.perceptual = perceptual

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        found = stylise(model, batch["x"], one_style_each(batch[LABEL], model))
        distance = functional.mse_loss if self.config.pixel_loss == "mse" else functional.l1_loss
        terms = {"pixels": self.config.pixel_weight * distance(found, batch["y"])}
        if self.perceptual is not None:
            terms["perceptual"] = self.config.perceptual_weight * self.perceptual(found, batch["y"])
        return {"loss": torch.stack(list(terms.values())).sum(), **terms}
