"""The dynamics task: build, train, predict, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Chain
from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError
from linearizer_core.figures.images import is_image
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task, TaskCard
from linearizer_dynamics.config import DynamicsConfig
from linearizer_dynamics.prediction import generator_of, predict
from linearizer_dynamics.standardize import Standardize
from linearizer_dynamics.training import DynamicsStage


class DynamicsTask(Task):
    r"""Continuous time: :math:`x(t) = g^{-1}(e^{tA} g(x(0)))` for any real t, with one bijection g on both sides and one generator A.

    With padding p the flow is one of :math:`\mathbb{R}^{n+p}`, and data are its points (x, 0): g stays a bijection, of the longer vectors.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        self.config = config

    def build(self, context: BuildContext) -> LinearizerModel:
        channels, *rest = context.info.shape
        shape = (channels + self.config.padding, *rest)
        body = context.backbone(shape, None)
        if body.inverse_grad == "none":
            raise ConfigError(
                f"the dynamics task trains through the inverse, but {type(body).__name__} declares inverse_grad = 'none'; choose another backbone.name"
            )
        g = Chain(Standardize(shape), body) if self.config.standardize else body
        model = LinearizerModel(g, context.core((g.dim, g.dim), None))
        generator_of(model)
        return model

    def stages(self) -> Sequence[Stage]:
        return (DynamicsStage(self.config.training),)

    def predict(self, model: LinearizerModel, x0: Tensor, times: Tensor, control: Tensor | None = None) -> Tensor:
        """States ``(B, T, *shape)`` at ``times``, real numbers of any sign, ``(T,)`` or ``(B, T)``, from ``x0`` ``(B, *shape)``; see `predict`."""
        return predict(model, x0, times, control)

    @torch.no_grad()
    def preview(self, model: LinearizerModel, splits: Splits, generator: torch.Generator) -> Tensor | None:
        if not is_image(splits.info.shape):
            return None
        batch = stack(splits.validation, 8)
        times = torch.linspace(0, float(batch["times"].max()), 8, device=generator.device)
        return predict(model, batch["x"].to(generator.device), times).flatten(0, 1)

    def trial_data(self) -> Splits:
        generator = torch.Generator().manual_seed(0)
        start, times = torch.rand(48, 3, generator=generator), torch.rand(48, 5, generator=generator).sort(dim=1).values
        rates = torch.tensor([-0.2, -0.5, -1.0])
        table = TensorTable(x=start, times=times, later=start[:, None] * (times[..., None] * rates).exp())
        return Splits(DataInfo(name="decay", shape=(3,)), table.slice(0, 32), table.slice(32, 40), table.slice(40, 48))

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        from linearizer_dynamics.evaluation import evaluate

        return evaluate(model, self.config.evaluation, splits, folder)

    def card(self, info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
        from linearizer_dynamics.card import card

        return card(metrics)
