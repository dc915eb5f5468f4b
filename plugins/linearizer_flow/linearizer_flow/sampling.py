"""Noise in, data out: by one operator, or by the loop that it collapses; and back."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.bijections import constant_weights
from linearizer_core.condition import Condition
from linearizer_core.core_operator import TimeDependentCore
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import time_grid
from linearizer_flow.config import SampleOptions, SamplingConfig
from linearizer_flow.latent_prior import LatentPriorBijection

_CHUNK = 500

LIMIT_SOLVER = "exact"
"""The solver of cores that know their flow in closed form, up to t = 1."""


def flow_core(model: LinearizerModel) -> TimeDependentCore:
    """The core of a flow model.

    Raises:
        ConfigError: for a core that does not depend on time.
    """
    if not isinstance(model.core, TimeDependentCore):
        raise ConfigError(f"the flow task needs a core that depends on time, {type(model.core).__name__} does not; choose another core.name")
    return model.core


def collapse_flow(core: TimeDependentCore, config: SamplingConfig, solver: str | None = None) -> LinearOperator:
    """The flow from noise to data as one operator, in float64.

    The exact limit at t = 1 where the core has one and nothing else is asked for; otherwise ``config.steps`` steps of the solver, up to t = 1 - 1/T.
    """
    solver = solver or config.solver or (LIMIT_SOLVER if LIMIT_SOLVER in core.solvers else "rk4")
    if solver == LIMIT_SOLVER:
        return core.propagator(torch.tensor([0.0, 1.0], dtype=torch.float64), solver)
    return core.propagator(time_grid(config.steps), solver)


def draw_noise(model: LinearizerModel, n: int, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
    """Standard normal noise ``(n, *gx.in_shape)``, scaled by ``temperature``."""
    return temperature * torch.randn(n, *model.gx.in_shape, generator=generator, device=generator.device)


def choose_condition(model: LinearizerModel, n: int, generator: torch.Generator, label: int | None) -> Condition | None:
    """The asked category for all ``n`` samples; where none is asked for, drawn by frequency.

    Raises:
        ConfigError: for a label of a model that takes none, or one out of range.
    """
    bijection = model.gy
    if not isinstance(bijection, LatentPriorBijection) or bijection.category is None:
        if label is not None:
            raise ConfigError(
                f"label = {label}: this model is not conditioned on labels; leave the label out, or train with task.latent_prior.condition = 'label'"
            )
        return None
    if label is None:
        return bijection.draw_condition(n, generator)
    categories = bijection.conditions[bijection.category]
    if label >= categories:
        raise ConfigError(f"label = {label}: this model knows the {bijection.category}s 0 to {categories - 1}")
    return Condition(**{bijection.category: torch.full((n,), label, device=generator.device)})


def generate(model: LinearizerModel, noise: Tensor, condition: Condition | None, operator: LinearOperator) -> Tensor:
    """One step: ``gy^-1(B gx(noise))``."""
    return model.linearizer(operator, condition)(noise)


def generate_by_loop(model: LinearizerModel, noise: Tensor, condition: Condition | None, steps: int, solver: str = "euler") -> Tensor:
    """Many steps: the solver's loop in the latent space, up to t = 1 - 1/steps, decoded once."""
    start = model.domain(condition).to_latent(noise)
    return model.codomain(condition).from_latent(flow_core(model).integrate(start, time_grid(steps), solver))


@torch.no_grad()
def sample(model: LinearizerModel, n: int, generator: torch.Generator, options: SampleOptions, operator: LinearOperator | None) -> Tensor:
    """``n`` samples, in chunks, so that memory does not grow with n: by ``operator`` in one step, by the loop where it is None."""
    noise = draw_noise(model, n, generator, options.temperature)
    condition = choose_condition(model, n, generator, options.label)
    chunks = []
    with constant_weights():
        for rows, start in zip(torch.split(torch.arange(n, device=noise.device), _CHUNK), torch.split(noise, _CHUNK), strict=True):
            part = condition.rows(rows) if condition else None
            if operator is None:
                chunks.append(generate_by_loop(model, start, part, options.steps, options.solver or "euler"))
            else:
                chunks.append(generate(model, start, part, operator))
    return torch.cat(chunks)
