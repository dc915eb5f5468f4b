"""The flow task: build, train, sample, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Identity
from linearizer_core.collapse import collapse_core
from linearizer_core.condition import Condition
from linearizer_core.config import CollapseConfig, Component, PerceptualConfig
from linearizer_core.cores import CoreOperator, TimeDependentCore
from linearizer_core.data import Batch, DataInfo, Splits
from linearizer_core.errors import ConfigError
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.latent_prior import PriorStage, make_prior
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.space import InducedSpace
from linearizer_core.task import BuildContext, Report, Stage, Task, TaskCard
from linearizer_core.validation import validate
from linearizer_flow.adopted import adopt_bijection
from linearizer_flow.adversarial import AdversarialStage
from linearizer_flow.card import card
from linearizer_flow.config import FlowConfig, ReconstructionConfig, SampleOptions
from linearizer_flow.latent_prior import LatentPriorBijection, ReconstructionStage, prior_parts
from linearizer_flow.published import PublishedStage
from linearizer_flow.sampling import LABEL, Loop, condition_of, core_for, data_space, flow_core, sample


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
        if self.config.recipe == "published":
            core = self._published_core(body.dim, context)
            model = LinearizerModel(context.backbone(shape, None), core, body)
        else:
            core = context.core((body.dim, body.dim), None)
            model = LinearizerModel(Identity((body.dim,)), core, self._with_prior(body, core, context))
        own = self.config.sampling
        flow_core(model).plan(own.steps, own.solver, own.terminal)  # what cannot be done is said before training, not after it
        return model

    def _published_core(self, dim: int, context: BuildContext) -> CoreOperator:
        if self.config.published.condition == "none":
            return context.core((dim, dim), None)
        if not context.info.classes:
            raise ConfigError("task.published.condition = 'label', but the data have no labels; use 'none'")
        core = context.core((dim, dim), {LABEL: context.info.classes + 1})  # the last one stands for any label
        if LABEL not in core.conditions:
            raise ConfigError(
                f"task.published.condition = 'label', but {type(core).__name__} takes no conditions; set core.name = 'shared_subspace' or 'low_rank'"
            )
        return core

    def _with_prior(self, body: Bijection, core: Any, context: BuildContext) -> LatentPriorBijection:
        recipe = self.config.latent_prior
        rank = core.leading_rank if isinstance(core, TimeDependentCore) else None
        if rank is None:
            raise ConfigError(
                f"recipe 'latent_prior' needs a core that keeps leading coordinates, {type(core).__name__} does not; "
                "set core.name = 'gaussian' with core.basis = 'leading', or task.recipe = 'published'"
            )
        conditional = recipe.condition != "none"
        backbone = recipe.prior.backbone or _default_prior(conditional=conditional)
        prior, categories = make_prior(rank, recipe.condition, recipe.clusters, context.info.classes, backbone, where="task.latent_prior")
        return LatentPriorBijection(body, prior, categories)

    def stages(self) -> Sequence[Stage]:
        if self.config.recipe == "published":
            return (PublishedStage(self.config.published.training, _perceptual(self.config.published.perceptual)),)
        recipe, perceptual = self.config.latent_prior, _perceptual(self.config.latent_prior.perceptual)
        start = partial(adopt_bijection, recipe.bijection) if recipe.bijection else None
        stages: list[Stage] = [PriorStage(recipe.prior, prior_parts, mirror=recipe.mirror, start=start)]
        if start is None:
            stages.insert(0, ReconstructionStage(recipe.reconstruction or ReconstructionConfig(), perceptual, mirror=recipe.mirror))
        if recipe.adversarial is None:
            return stages
        if perceptual is None:
            raise ConfigError("task.latent_prior.adversarial needs features for its critic; set task.latent_prior.perceptual.model")
        return [*stages, AdversarialStage(recipe.adversarial, perceptual, mirror=recipe.mirror)]

    def collapse(self) -> CollapseConfig:
        return self.config.sampling

    def with_collapse(self, config: CollapseConfig) -> FlowTask:
        return FlowTask(self.config.model_copy(update={"sampling": config}))

    def core(self, model: LinearizerModel) -> TimeDependentCore:
        return core_for(model, None)

    def condition(self, model: LinearizerModel, batch: Batch) -> Condition | None:
        return condition_of(model, batch["x"], batch.get("label"))

    def data_space(self, model: LinearizerModel) -> InducedSpace:
        return data_space(model)

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
        own, core = self.config.sampling, core_for(model, chosen.label, chosen.guidance)
        named = chosen.steps > 1 or chosen.solver not in (None, "exact")
        terminal = chosen.terminal or own.terminal or ("early" if named else None)
        if chosen.steps > 1:
            if chosen.rank is not None:
                raise ConfigError(f"rank = {chosen.rank} cuts the collapsed operator, but steps = {chosen.steps} runs the loop; leave one of the two out")
            return sample(model, n, generator, chosen, Loop(core, chosen.steps, chosen.solver or "euler", terminal or "early"))
        of_label = chosen.label is not None and LABEL in model.core.conditions
        if operator is None or of_label or chosen.solver is not None or chosen.terminal is not None:
            operator = collapse_core(core, own.model_copy(update={"solver": chosen.solver or own.solver, "terminal": terminal}))
        if chosen.rank is not None:
            operator = operator.truncate(chosen.rank)
        return sample(model, n, generator, chosen, operator.to(next(model.parameters()).dtype))

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        from linearizer_flow.evaluation import evaluate

        return evaluate(model, self.config, splits, folder, operator)

    def card(self, info: DataInfo, metrics: Mapping[str, Any]) -> TaskCard:
        return card(info)


def _default_prior(*, conditional: bool) -> Component:
    return Component(name="coupling", dense={"couplings": 8, "width": 256}, class_scale=conditional, log_scale_bound=1.5, final_mixing=False)


def _perceptual(config: PerceptualConfig | None) -> PerceptualDistance | None:
    return PerceptualDistance(config) if config else None
