"""The tab of the demo for flows: one step beside many."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch

from linearizer_core.bijections import constant_weights
from linearizer_core.collapse import collapse_core
from linearizer_core.cores import TimeDependentCore
from linearizer_core.demo import Choice, Control, Fact, Output, Seed, Shown, Slider, Tab
from linearizer_core.demo.facts import clocked, digits, duration
from linearizer_core.demo.pictures import has_pictures, showable
from linearizer_core.metrics import max_abs_error
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import FlowSummary
from linearizer_core.pretrained import Pretrained
from linearizer_flow.latent_prior import LatentPriorBijection
from linearizer_flow.sampling import LABEL, any_label, choose_condition, core_for, draw_noise, flow_core
from linearizer_flow.task import FlowTask

ANY = "any"
"""The label of a picture of anything."""
THESE, SAVED = "these steps, multiplied", "the operator of the model"
"""What the one step may be: the very steps of the loop as one operator, or the operator that is saved with the model."""
AMPLIFIED = 1000
_REPEATS = 5
_LARGEST = 200
_SMALL = 3 * 32 * 32
"""Numbers in a picture of which many are drawn at once."""


@final
class OneStep(Tab):
    r"""The same noise by one operator and by the loop of solver steps that it stands for, with the time of each and their difference.

    Both run in the latent space and are decoded once: :math:`g_y^{-1}(B\,n)` and :math:`g_y^{-1}(S_N \cdots S_1\,n)`, under one terminal rule.
    """

    title = "One step vs many"
    explanation = (
        "A flow makes pictures of noise, in many small steps. Here every step is a matrix, so all of them can be multiplied into a single one beforehand: "
        "draw pictures both ways from the same noise, and look for the difference."
    )
    position = 10
    favourite = "flow.mnist"

    def lacks(self, pretrained: Pretrained) -> str:
        if not isinstance(pretrained.task, FlowTask):
            return "a flow from noise to data (task `flow`)"
        return "" if has_pictures(pretrained) else "pictures: its examples have another shape"

    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        most = _directions(_saved(pretrained))
        return [
            Choice("solver", "Solver", options=flow_core(pretrained.model).solvers, info="how one step of the loop is made"),
            Slider("steps", "Steps", minimum=2, maximum=_LARGEST, value=100, info="of the loop"),
            Choice("against", "The one step is", options=(THESE, SAVED), info="the same steps, or what few steps come near to"),
            Slider("rank", "Directions kept", minimum=1, maximum=most, value=most, info="of the one step; with fewer, pictures lose what the others hold"),
            Choice("label", "Picture of", options=(ANY, *_labels(pretrained))),
            Slider("temperature", "Temperature", minimum=0, maximum=1.5, value=1.0, step=0.05, info="scale of the noise: lower is safer, higher more varied"),
            Slider("count", "Pictures", minimum=1, maximum=32, value=16 if math.prod(pretrained.config.data.shape) <= _SMALL else 8),
            Seed(),
        ]

    def outputs(self) -> Sequence[Output]:
        return [
            Output("one_step", "One step", description="pictures drawn by a single matrix"),
            Output("many_steps", "Many steps", description="pictures drawn from the same noise by the loop"),
            Output("difference", f"Their difference, x {AMPLIFIED:,}", description="black where both ways agree"),
        ]

    @torch.no_grad()
    def show(
        self,
        pretrained: Pretrained,
        *,
        solver: str,
        steps: int,
        against: str,
        rank: int,
        label: str,
        temperature: float,
        count: int,
        seed: int,
    ) -> Shown:
        model, weight = pretrained.model, next(pretrained.model.parameters())
        number = None if label == ANY else _labels(pretrained).index(label)
        core, collapse = core_for(model, number), pretrained.task.collapse()
        plan = core.plan(steps, solver, collapse.terminal if collapse else None)
        operator, collapse_seconds = clocked(lambda: core.propagator(plan.grid, solver, terminal=plan.terminal))
        if against == SAVED:
            operator = _of_model(pretrained, core)
        cut = rank < _directions(_saved(pretrained))
        operator = (operator.truncate(rank) if cut else operator).to(weight.dtype)

        generator = torch.Generator(weight.device).manual_seed(seed)
        noise = draw_noise(model, count, generator, temperature)
        condition = choose_condition(model, count, generator, number)
        space = model.codomain(condition)
        start = model.domain(condition).to_latent(noise)
        one, one_seconds = clocked(lambda: operator(start), _REPEATS)
        many, many_seconds = clocked(lambda: core.integrate(start, plan.grid, solver, terminal=plan.terminal), _REPEATS)
        with constant_weights():
            first, first_seconds = clocked(lambda: space.from_latent(one.to(start.dtype)))
            second, second_seconds = clocked(lambda: space.from_latent(many))
        decoding = min(first_seconds, second_seconds)  # the first call of all warms up
        taken = len(plan.grid) - 1
        worst = max_abs_error(first, second)
        return Shown(
            {"one_step": showable(first), "many_steps": showable(second), "difference": showable(AMPLIFIED * (first - second).abs())},
            [
                Fact("One step, in latent space", duration(one_seconds)),
                Fact(f"{taken:,} steps, in latent space", duration(many_seconds)),
                Fact("Faster", f"{many_seconds / one_seconds:,.0f} times"),
                Fact("Decoding, once either way", duration(decoding)),
                Fact(f"A network at each step ({taken:,} x decoding, calculated)", duration(taken * decoding)),
                Fact("Multiplying the steps, once for all pictures", duration(collapse_seconds)),
                Fact("Largest difference of a pixel", digits(worst)),
            ],
            _sentence(taken, solver, worst, saved=against == SAVED, rank=rank if cut else None),
        )


def _sentence(steps: int, solver: str, worst: float, *, saved: bool, rank: int | None) -> str:
    if rank is not None:
        return f"The one step was cut to {rank} directions, the loop was not: the difference is what the others hold."
    if saved:
        return (
            f"The one step is the operator that is saved with the model; {steps:,} steps of {solver} come within {digits(worst)} of its pictures. "
            "Take more steps, or another solver, and watch the difference."
        )
    return (
        f"Both rows show the same pictures: they differ by {digits(worst)} at most, which is rounding. The loop here runs on short vectors and is fast too; "
        f"a flow without this structure evaluates a network at each of its {steps:,} steps."
    )


def _saved(pretrained: Pretrained) -> LinearOperator:
    operator = pretrained.task.collapsed(pretrained.model) if pretrained.operator is None else pretrained.operator
    assert operator is not None
    return operator


def _of_model(pretrained: Pretrained, core: TimeDependentCore) -> LinearOperator:
    """The operator as the model has it, under the label of ``core`` where it takes one."""
    collapse = pretrained.task.collapse()
    return _saved(pretrained) if collapse is None or core.condition is None else collapse_core(core, collapse)


def _directions(operator: LinearOperator) -> int:
    """How many directions carry data: all that the operator keeps, without those on which it is a multiple of the identity."""
    summary = FlowSummary.of(operator)
    return max(1, summary.dim - summary.complement if summary.complement else summary.rank)


def _labels(pretrained: Pretrained) -> tuple[str, ...]:
    """The names of what a picture can be asked to be of; none where the model takes no labels."""
    model = pretrained.model
    if isinstance(model.gy, LatentPriorBijection) and model.gy.categories.name:
        count = model.gy.categories.count
    else:
        count = any_label(flow_core(model)) if LABEL in model.core.conditions else 0
    names = pretrained.config.data.class_names
    return names if len(names) == count else tuple(map(str, range(count)))
