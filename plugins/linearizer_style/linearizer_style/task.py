"""The style task: build, train, show, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.core_operator import CoreOperator, TimeDependentCore
from linearizer_core.data import Splits, stack
from linearizer_core.errors import ConfigError, DataError
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.spatial_core import SpatialCore, latent_shape
from linearizer_core.task import BuildContext, Report, Stage, Task
from linearizer_style.config import StyleConfig
from linearizer_style.stage import LABEL, StyleStage, stylise

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
            raise ConfigError(f"the style task needs pictures with styles, {context.info.name!r} has shape {context.info.shape} and no classes; "
                              "set data.name = 'style_pairs'")
        self._context = context
        gy = context.backbone(context.info.shape, None)
        if gy.inverse_grad == "none":
            raise ConfigError(f"the style task trains through the inverse, {type(gy).__name__} declares inverse_grad = 'none'; choose another backbone.name")
        gx = gy if self.config.shared else context.backbone(context.info.shape, None)
        core = context.core((gy.dim, gx.dim), {LABEL: context.info.classes})
        if LABEL not in core.conditions or isinstance(core, TimeDependentCore):
            raise ConfigError(f"the style task needs a core with one operator for each style, {type(core).__name__} has none; set core.name = 'convolution'")
        return LinearizerModel(gx, core.on(latent_shape(gy)) if isinstance(core, SpatialCore) else core, gy)

    def stages(self) -> Sequence[Stage]:
        perceptual = PerceptualDistance(self.config.perceptual) if self.config.perceptual else None
        return (StyleStage(self.config.training, perceptual),)

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        return Report({})
