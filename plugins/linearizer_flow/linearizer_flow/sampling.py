"""Noise in, data out: by one operator, or by the loop that it collapses; and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.condition import Condition
from linearizer_core.cores import GuidedCore, TimeDependentCore
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import Terminal, time_grid
from linearizer_core.space import InducedSpace
from linearizer_flow.config import SampleOptions
from linearizer_flow.latent_prior import LatentPriorBijection

LABEL = "label"
"""The name of the condition that a core may take."""

_CHUNK = 500


def flow_core(model: LinearizerModel) -> TimeDependentCore:
    """The core of a flow model.

    Raises:
        ConfigError: for a core that does not depend on time.
    """
    if not isinstance(model.core, TimeDependentCore):
        raise ConfigError(f"the flow task needs a core that depends on time, {type(model.core).__name__} does not; choose another core.name")
    return model.core


def any_label(core: TimeDependentCore) -> int:
    """The category of a conditional core that stands for any label: the last."""
    return core.conditions[LABEL] - 1


def core_for(model: LinearizerModel, label: int | None, guidance: float = 1.0) -> TimeDependentCore:
    """The core for one label, guided towards it; that for any label where none is asked for.

    Raises:
        ConfigError: for a label out of range, or guidance that has nothing to guide to.
    """
    core = flow_core(model)
    if LABEL not in core.conditions or label is None:
        if guidance != 1:
            needs = "a label" if LABEL in core.conditions else "a core that is conditioned on labels, as with task.published.condition = 'label'"
            raise ConfigError(f"guidance = {guidance}: it needs {needs}; leave it out, or give that")
        return core.given(Condition(label=torch.tensor([any_label(core)], device=_device(model)))) if LABEL in core.conditions else core
    if label >= any_label(core):
        raise ConfigError(f"label = {label}: this model knows the labels 0 to {any_label(core) - 1}")
    given = core.given(Condition(label=torch.tensor([label], device=_device(model))))
    return given if guidance == 1 else GuidedCore(core_for(model, None), given, guidance)


def draw_noise(model: LinearizerModel, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
    """Standard normal noise ``(n, *gx.in_shape)``, scaled by ``temperature``."""
    return temperature * torch.randn(n, *model.gx.in_shape, generator=generator, device=generator.device)


def choose_condition(model: LinearizerModel, n: int, generator: torch.Generator, label: int | None) -> Condition | None:
    """The condition of the bijection: the asked category for all ``n`` samples; where none is asked for, drawn by frequency.

    Raises:
        ConfigError: for a label of a model that takes none, or one out of range.
    """
    bijection = model.gy
    if isinstance(bijection, LatentPriorBijection) and bijection.categories.name:
        return bijection.categories.draw(n, generator, label)
    if label is not None and LABEL not in model.core.conditions:
        raise ConfigError(
            f"label = {label}: this model is not conditioned on labels; leave the label out, or train with task.latent_prior.condition = 'label', "
            "or task.published.condition = 'label'"
        )
    return None


def condition_of(model: LinearizerModel, x: Tensor, label: Tensor | None) -> Condition | None:
    """The condition of the bijection for given examples: their labels, their nearest clusters, or nothing."""
    return model.gy.infer_condition(x, label) if isinstance(model.gy, LatentPriorBijection) else None


def data_space(model: LinearizerModel) -> InducedSpace:
    """The space of examples of all categories: that of the body, which comes before anything depends on a category."""
    return InducedSpace(model.gy.body) if isinstance(model.gy, LatentPriorBijection) else model.codomain()


def generate(model: LinearizerModel, noise: Tensor, condition: Condition | None, operator: LinearOperator) -> Tensor:
    """One step: ``gy^-1(B gx(noise))``."""
    return model.linearizer(operator, condition)(noise)


@final
@dataclass(frozen=True)
class Loop:
    """The steps of a solver, one after another, on a core: what a collapsed operator stands for. By default it stops at t = 1 - 1/steps, as published."""

    core: TimeDependentCore
    steps: int
    solver: str = "euler"
    terminal: Terminal = "early"

    def __call__(self, z: Tensor) -> Tensor:
        return self.core.integrate(z, time_grid(self.steps, self.terminal), self.solver, terminal=self.terminal)


def generate_by_loop(model: LinearizerModel, noise: Tensor, condition: Condition | None, loop: Loop) -> Tensor:
    """Many steps in the latent space, decoded once."""
    return model.codomain(condition).from_latent(loop(model.domain(condition).to_latent(noise)))


@torch.no_grad()
def sample(model: LinearizerModel, n: int, generator: torch.Generator, options: SampleOptions, way: LinearOperator | Loop) -> Tensor:
    """``n`` samples, in chunks, so that memory does not grow with n: by an operator in one step, or by a loop."""
    noise = draw_noise(model, n, generator, options.temperature)
    condition = choose_condition(model, n, generator, options.label)
    chunks = []
    with constant_weights():
        for rows, start in zip(torch.split(torch.arange(n, device=noise.device), _CHUNK), torch.split(noise, _CHUNK), strict=True):
            part = condition.rows(rows) if condition else None
            chunks.append(generate_by_loop(model, start, part, way) if isinstance(way, Loop) else generate(model, start, part, way))
    return torch.cat(chunks)


def _device(model: LinearizerModel) -> torch.device:
    return next(model.parameters()).device
