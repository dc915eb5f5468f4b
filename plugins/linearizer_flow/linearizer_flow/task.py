"""The flow task: build, train, sample, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Identity
from linearizer_core.config import Component
from linearizer_core.core_operator import TimeDependentCore
from linearizer_core.data import Splits
from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_backbone
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task
from linearizer_core.validation import validate
from linearizer_flow.config import FlowConfig, LatentPriorRecipe, PerceptualConfig, SampleOptions
from linearizer_flow.latent_prior import ConditionKind, LatentPriorBijection, PriorStage, ReconstructionStage
from linearizer_flow.perceptual import PerceptualDistance
from linearizer_flow.published import PublishedStage
from linearizer_flow.sampling import collapse_flow, flow_core, sample


class FlowTask(Task):
    r"""One-step flow matching: :math:`f(x_0) = g_y^{-1}(B\, g_x(x_0))` from noise to data, B the product of all solver steps.

    Needs a backbone whose inverse has gradients, and a core that depends on time. The latent-prior recipe needs a core that keeps leading coordinates
    (``leading_rank``) and, on them, a prior backbone with a log-determinant; its noise needs no network, so that a sample costs one inverse pass.
    """

    def __init__(self, config: FlowConfig) -> None:
        self.config = config

    def build(self, context: BuildContext) -> LinearizerModel:
        shape = context.info.shape
        body = context.backbone(shape, None)
        if body.inverse_grad == "none":
            raise ConfigError(
                f"the flow task trains through the inverse, but {type(body).__name__} declares inverse_grad = 'none'; choose another backbone.name"
            )
        core = context.core((body.dim, body.dim), None)
        if self.config.recipe == "published":
            model = LinearizerModel(context.backbone(shape, None), core, body)
        else:
            model = LinearizerModel(Identity((body.dim,)), core, self._with_prior(body, core, context))
        flow_core(model)
        return model

    def _with_prior(self, body: Bijection, core: Any, context: BuildContext) -> LatentPriorBijection:
        recipe = self.config.latent_prior
        rank = core.leading_rank if isinstance(core, TimeDependentCore) else None
        if rank is None:
            raise ConfigError(
                f"recipe 'latent_prior' needs a core that keeps leading coordinates, {type(core).__name__} does not; "
                "set core.name = 'gaussian' with core.basis = 'leading', or task.recipe = 'published'"
            )
        condition = self._condition(recipe, context.info.classes)
        conditions: dict[str, int] | None = dict([condition]) if condition else None
        chosen = recipe.prior.backbone or _default_prior(conditional=condition is not None)
        prior = create_backbone(chosen.name, (rank,), conditions=conditions, **chosen.options)
        if not prior.has_logdet:
            raise ConfigError(
                f"the prior is fitted by likelihood, but {type(prior).__name__} has no log-determinant; choose another task.latent_prior.prior.backbone"
            )
        if condition and condition[0] not in prior.conditions:
            raise ConfigError(
                f"{type(prior).__name__} does not use the condition {condition[0]!r}; "
                "choose another task.latent_prior.prior.backbone, or task.latent_prior.condition = 'none'"
            )
        return LatentPriorBijection(body, prior, condition)

    @staticmethod
    def _condition(recipe: LatentPriorRecipe, classes: int) -> tuple[ConditionKind, int] | None:
        if recipe.condition == "label":
            if not classes:
                raise ConfigError("task.latent_prior.condition = 'label', but the data have no labels; use 'cluster' or 'none'")
            return "label", classes
        return ("cluster", recipe.clusters) if recipe.condition == "cluster" else None

    def stages(self) -> Sequence[Stage]:
        if self.config.recipe == "published":
            return (PublishedStage(self.config.published.training, _perceptual(self.config.published.perceptual)),)
        recipe = self.config.latent_prior
        return ReconstructionStage(recipe.reconstruction, _perceptual(recipe.perceptual)), PriorStage(recipe.prior)

    def collapsed(self, model: LinearizerModel) -> LinearOperator:
        dtype = next(model.parameters()).dtype
        return collapse_flow(flow_core(model), self.config.sampling).to(dtype)

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
        if chosen.steps > 1:
            return sample(model, n, generator, chosen, None)
        if operator is None or chosen.solver is not None:
            operator = collapse_flow(flow_core(model), self.config.sampling, chosen.solver)
        return sample(model, n, generator, chosen, operator.to(next(model.parameters()).dtype))

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path) -> Report:
        from linearizer_flow.evaluation import evaluate

        return evaluate(model, self.config, splits, folder)


def _default_prior(*, conditional: bool) -> Component:
    return Component(name="coupling", dense={"couplings": 8, "width": 256}, class_scale=conditional, log_scale_bound=1.5, final_mixing=False)


def _perceptual(config: PerceptualConfig | None) -> PerceptualDistance | None:
    return PerceptualDistance(config) if config else None
