"""The style task: build, train, show, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.cores import SpatialCore, TimeDependentCore, latent_shape
from linearizer_core.data import DataInfo, Splits
from linearizer_core.errors import ConfigError
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task, TaskCard
from linearizer_style.config import StyleConfig
from linearizer_style.stage import LABEL, StyleStage, one_style_each, spread, stylise

_SHOWN = 8


class StyleTask(Task):
    r"""Modular style transfer: :math:`f_s(x) = g_y^{-1}(A_s\, g_x(x))`, content maps shared, one operator for each style (arXiv 2510.08570).

    Needs pairs (``style_pairs``, ``style_teacher``), a backbone whose inverse has gradients, and a core with one operator for each category. With a
    `SpatialCore` and a backbone that keeps places apart the trained model serves pictures of any size (`resized`).
    """

    def __init__(self, config: StyleConfig) -> None:
        self.config = config
        self._context: BuildContext | None = None

    def build(self, context: BuildContext) -> LinearizerModel:
        if not context.info.classes or len(context.info.shape) != 3:
            raise ConfigError(
                f"the style task needs pictures with styles, {context.info.name!r} has shape {context.info.shape} and {context.info.classes} classes; "
                "set data.name = 'style_pairs'"
            )
        self._context = context
        return self._assemble(context)

    def _assemble(self, context: BuildContext) -> LinearizerModel:
        gy = context.backbone(context.info.shape, None)
        if gy.inverse_grad == "none":
            raise ConfigError(f"the style task trains through the inverse, {type(gy).__name__} declares inverse_grad = 'none'; choose another backbone.name")
        gx = gy if self.config.shared else context.backbone(context.info.shape, None)
        core = context.core((gy.dim, gx.dim), {LABEL: context.info.classes})
        if LABEL not in core.conditions or isinstance(core, TimeDependentCore):
            raise ConfigError(f"the style task needs a core with one operator for each style, {type(core).__name__} has none; set core.name = 'convolution'")
        return LinearizerModel(gx, core.on(latent_shape(gy)) if isinstance(core, SpatialCore) else core, gy)

    def resized(self, model: LinearizerModel, size: tuple[int, int]) -> LinearizerModel:
        """The same model for pictures of ``size`` (height, width), with copies of its weights.

        Raises:
            ConfigError: where weights belong to places: a core for one size, dense couplings, token mixing; or where the squeezes do not divide the size.
        """
        if model.gx.in_shape[1:] == size:
            return model
        assert self._context is not None, "a model comes from build"
        if not isinstance(model.core, SpatialCore):
            raise ConfigError(
                f"{type(model.core).__name__} serves pictures of {model.gx.in_shape[2]} x {model.gx.in_shape[1]} pixels alone; crop or scale them to that, or "
                "train with core.name = 'convolution'"
            )
        info = self._context.info.model_copy(update={"shape": (model.gx.in_shape[0], *size)})
        with torch.random.fork_rng(devices=[]):
            other = self._assemble(replace(self._context, info=info))
        try:
            other.load_state_dict(model.state_dict())
        except RuntimeError as error:
            raise ConfigError(
                f"some weights of the model belong to places, so it serves pictures of {model.gx.in_shape[2]} x {model.gx.in_shape[1]} pixels alone; "
                f"train without dense couplings, final mixing and token mixing ({str(error).splitlines()[1].strip()})"
            ) from error
        return other.to(next(model.parameters())).train(model.training)

    def stages(self) -> Sequence[Stage]:
        perceptual = PerceptualDistance(self.config.perceptual) if self.config.perceptual else None
        return (StyleStage(self.config.training, perceptual),)

    def preview(self, model: LinearizerModel, splits: Splits, generator: torch.Generator) -> Tensor | None:
        """Validation crops in rows of three: content, teacher, ours."""
        batch = {name: tensor.to(generator.device) for name, tensor in spread(splits.validation, _SHOWN).items()}
        found = stylise(model, batch["x"], one_style_each(batch[LABEL], model))
        return torch.stack([batch["x"], batch["y"], found.clamp(0, 1)], dim=1).flatten(0, 1)

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        from linearizer_style.evaluation import evaluate

        return evaluate(model, splits, folder)

    def trial_data(self) -> Splits:
        from linearizer_style.trial import trial_splits

        return trial_splits()

    def card(self, info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
        from linearizer_style.card import card

        return card(metrics)
