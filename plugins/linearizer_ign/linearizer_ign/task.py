"""The idempotent task: build, train, sample, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Chain, Flatten, constant_weights
from linearizer_core.config import Component
from linearizer_core.cores import TimeDependentCore
from linearizer_core.data import DataInfo, Splits
from linearizer_core.errors import ConfigError
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.latent_prior import PriorParts, PriorStage, make_prior
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task, TaskCard
from linearizer_core.validation import validate
from linearizer_ign.card import card
from linearizer_ign.config import IdempotentConfig, SampleOptions
from linearizer_ign.model import IdempotentModel
from linearizer_ign.stage import ProjectionStage

_CHUNK = 500


class IdempotentTask(Task):
    r"""A projector onto what data look like: :math:`f = g^{-1} A g` with :math:`A A = A`, hence :math:`f \circ f = f` (arXiv 2510.08570, idempotent networks).

    Needs a backbone whose inverse has gradients, and a core that is a projector: any core whose operator is idempotent will do. Data are images or vectors.
    """

    def __init__(self, config: IdempotentConfig) -> None:
        self.config = config

    def build(self, context: BuildContext) -> LinearizerModel:
        body = context.backbone(context.info.shape, None)
        if body.inverse_grad == "none":
            raise ConfigError(
                f"the task ign trains through the inverse, but {type(body).__name__} declares inverse_grad = 'none'; choose another backbone.name"
            )
        if self.config.projection.corruption is not None and len(context.info.shape) != 3:
            raise ConfigError(f"task.projection.corruption damages images, the data have shape {context.info.shape}; set it to none")
        core = context.core((body.dim, body.dim), None)
        if isinstance(core, TimeDependentCore):
            raise ConfigError(f"the task ign needs a projector, {type(core).__name__} depends on time; set core.name = 'projector'")
        flat = body if len(body.out_shape) == 1 else Chain(body, Flatten(body.out_shape))
        options = self.config.generation
        backbone = options.prior.backbone or _default_prior(conditional=options.condition != "none")
        components = min(options.components, body.dim)
        prior, categories = make_prior(components, options.condition, options.clusters, context.info.classes, backbone, where="task.generation")
        return IdempotentModel(flat, core, prior, categories)

    def stages(self) -> Sequence[Stage]:
        perceptual = None if self.config.perceptual is None else PerceptualDistance(self.config.perceptual)
        return ProjectionStage(self.config.projection, perceptual), PriorStage(self.config.generation.prior, _parts)

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        chosen = validate(SampleOptions, options or {})
        with torch.no_grad(), constant_weights():
            parts = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)]
            return torch.cat([_own(model).generate(part, generator, label=chosen.label, temperature=chosen.temperature) for part in parts])

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        from linearizer_ign.evaluation import evaluate

        return evaluate(_own(model), splits, self.config.evaluation, folder)

    def card(self, info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
        return card(info, metrics)


def _own(model: LinearizerModel) -> IdempotentModel:
    assert isinstance(model, IdempotentModel)
    return model


def _parts(model: LinearizerModel) -> PriorParts:
    return _own(model).parts


def _default_prior(*, conditional: bool) -> Component:
    return Component(name="coupling", dense={"couplings": 8, "width": 256}, class_scale=conditional, log_scale_bound=1.5, final_mixing=False)
