"""Signatures of failure, each with a number, a threshold and what to do: the quick parts of the studies."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.cores import GeneratorCore, TimeDependentCore
from linearizer_core.errors import LinearizerError, StepSizeError
from linearizer_core.invertibility import adversarial, collisions, far_off_inputs, gain, round_trip, worst_layer
from linearizer_core.linearizer import Linearizer
from linearizer_core.metrics import max_abs_error, relative_error
from linearizer_core.operators import LinearOperator
from linearizer_core.study import StudySubject
from linearizer_studies.examples import Examples, core_condition
from linearizer_studies.invertibility import bijections
from linearizer_studies.refusals import or_infinite, unless_refused
from linearizer_studies.words import counted, number

Verdict = Literal["ok", "warn", "fail", "does not apply"]

GREY = 1 / 510
"""Half a grey level of 8-bit data in [0, 1]: a change above it shows."""

_SEED = 0
_EXAMPLES = 64
_FEW = 8
_SEARCH_STEPS = 10
_EXACT = 1e-8
_NEARLY_IDEMPOTENT = 0.1
_NO_PROJECTOR = 1e-4


@final
@dataclass(frozen=True)
class Signature:
    """One check.

    Attributes:
        name: what may be wrong.
        number: what was measured; None where the question does not apply.
        warn: from here on it is worth a look.
        fail: from here on the model should not be used as it is. Numbers are bad above both; `smallest` turns that round.
        measured: what the number is.
        advice: what to do about it; why it does not apply, where it does not.
        smallest: whether small numbers are bad.
    """

    name: str
    number: float | None
    warn: float
    fail: float
    measured: str
    advice: str
    smallest: bool = False

    @property
    def verdict(self) -> Verdict:
        """Against the two thresholds; a number that is none fails.

        Example:
            >>> Signature("drift", 3e-4, 1e-4, 1e-2, "", "").verdict, Signature("drift", math.nan, 1e-4, 1e-2, "", "").verdict
            ('warn', 'fail')
        """
        if self.number is None:
            return "does not apply"
        sign = -1 if self.smallest else 1
        if not sign * self.number < sign * self.fail:
            return "fail"
        return "ok" if sign * self.number < sign * self.warn else "warn"


@torch.no_grad()
def examine(subject: StudySubject, condition: Mapping[str, int] | None = None) -> list[Signature]:
    """All signatures of a trained model, on test examples and on inputs far off them.

    Arguments:
        subject: the model and its data.
        condition: categories of a core that takes some; its own choice when left out.

    Raises:
        ConfigError: for a core that has no choice of its own.
    """
    examples = Examples.of(subject, _EXAMPLES, condition)
    return [
        *_flow(subject, examples, condition),
        _idempotency(examples),
        *[signature for name, g in bijections(subject.pretrained.model) for signature in _bijection(name, g, examples)],
        _outputs(subject, examples),
    ]


# --- one step and many -------------------------------------------------------------------------------


def _flow(subject: StudySubject, examples: Examples, condition: Mapping[str, int] | None) -> list[Signature]:
    pretrained = subject.pretrained
    core, config = pretrained.task.core(pretrained.model), pretrained.task.collapse()
    apart, coarse = _DISAGREEMENT.asked, _COARSE.asked
    if not isinstance(core, TimeDependentCore) or config is None:
        why = f"{type(core).__name__} has no steps to collapse"
        return [apart(None, why), coarse(None, why)]
    if (chosen := core_condition(condition, examples.x.device)) is not None:
        core = core.given(chosen)
    plan = core.plan(config.steps, config.solver, config.terminal, tol=config.tol)
    z = torch.randn(_EXAMPLES, core.dim, generator=torch.Generator().manual_seed(_SEED)).to(examples.x)
    one = examples.f.operator(z)
    loop = core.integrate(z, plan.grid, plan.solver, terminal=plan.terminal)
    cut = "" if config.rank is None else f"the operator was cut to rank {config.rank} on purpose; "
    disagreement = apart(
        relative_error(one, loop),
        f"{cut}the saved operator is not the product of the {len(plan.grid) - 1} steps of {plan.solver}: stages that are not nested, rounding of a long "
        "product, or an operator of other weights; make it anew with `linearizer collapse RUN`, and see `linearizer study integration`",
    )
    stop = plan.grid[-1].item()
    try:
        exact = _exact(core, stop)
    except LinearizerError as error:
        told = "the steps became too small" if isinstance(error, StepSizeError) else str(error)
        return [disagreement, coarse(None, f"the exact flow to t = {stop:g} is not known: {told}")]
    return [
        disagreement,
        coarse(
            relative_error(one.double(), exact(z.double())),
            f"{len(plan.grid) - 1} steps of {plan.solver} are too few: `linearizer collapse RUN --tol 1e-6` chooses them, `--solver rk4` needs fewer",
        ),
    ]


def _exact(core: TimeDependentCore, stop: float) -> LinearOperator:
    """The exact flow to ``stop``; without closed form, by steps of a solver of high order, chosen for an error."""
    if "exact" in core.solvers:
        return core.propagator(torch.tensor([0.0, stop], dtype=torch.float64), "exact")
    wide = copy.deepcopy(core).double()  # velocities in float32 are too rough for small errors
    return wide.one_step(solver="magnus4", terminal="last_step" if stop < 1 else "limit", stop=stop, tol=_EXACT)


# --- idempotence ---------------------------------------------------------------------------------------


def _idempotency(examples: Examples) -> Signature:
    f = examples.f
    if f.codomain.dim != f.domain.dim:
        return _DRIFT.asked(None, "f maps between spaces of different dimensions, so it cannot be applied to what it makes")
    projector = f if f.is_endomorphism else Linearizer(f.codomain, f.operator)  # a flow that ends in a subspace projects data onto it
    once = f.operator(examples.latents())
    # Of a map of one space to itself near misses count as failed projectors; what a flow multiplies out to may come near one without being meant to.
    if (gap := relative_error(f.operator(once), once)) > (_NEARLY_IDEMPOTENT if f.is_endomorphism else _NO_PROJECTOR):
        return _DRIFT.asked(None, f"A A differs from A by {number(gap)}: this map is not meant to be a projector")
    drift = {name: unless_refused(lambda x=x: _twice(projector, x), math.inf) for name, x in _inputs(examples).items()}  # type: ignore[misc]
    worst = max(drift, key=lambda name: or_infinite(drift[name]))
    if gap > _NO_PROJECTOR:
        cause = f"A A differs from A by {number(gap)}, so the core is no projector: use one that is by construction, such as `projector`"
    else:
        cause = "the core is a projector, so what drifts is g: bound its gain (`lipschitz`, `log_scale_budget`), or take the backbone `lattice`"
    return _DRIFT.asked(drift[worst], f"worst on {worst}; {cause}")


def _twice(projector: Linearizer, x: Tensor) -> float:
    once = projector(x)
    return max_abs_error(projector(once), once) / (float(x.max() - x.min()) or 1.0)


# --- bijections ----------------------------------------------------------------------------------------


def _bijection(name: str, g: Bijection, examples: Examples) -> list[Signature]:
    condition = None if examples.condition is None else examples.condition.only(g.conditions)
    x = examples.x.reshape(len(examples.x), *g.in_shape)
    some = torch.arange(min(_FEW, len(x)), device=x.device)
    own = None if condition is None else condition.rows(some)
    generator = torch.Generator(x.device).manual_seed(_SEED)
    low, high = float(x.min()), float(x.max())

    inputs = {kind: (each.reshape(len(each), *g.in_shape), condition) for kind, each in _inputs(examples).items()}
    found = unless_refused(lambda: adversarial(g, x[some], own, generator=generator, steps=_SEARCH_STEPS, low=low, high=high), x[some])
    inputs["searched"] = (found, own)
    errors = {kind: unless_refused(lambda sent=sent: round_trip(g, *sent).relative.maximum, math.inf) for kind, sent in inputs.items()}  # type: ignore[misc]
    worst = max(errors, key=lambda kind: or_infinite(errors[kind]))
    layer = worst_layer(g, inputs[worst][0][: len(some)], own, name=name)

    pairs = collisions(g, x, condition)
    gains = gain(g, x[some], own)
    return [
        _COLLISION.asked(
            0.0 if pairs.count else pairs.smallest_stretch,
            f"{counted(pairs.count, 'pair')} of {pairs.pairs:,} share a latent; g loses what tells inputs apart: bound its scales (`log_scale_budget`), look "
            "at its normalisation, and see `linearizer study invertibility`",
            where=name,
        ),
        _ROUND_TRIP.asked(
            errors[worst],
            f"worst on {worst} inputs, most harm in {layer}; train bounded scales (`log_scale_budget`, `lipschitz`), or with the penalty `lipschitz` of a "
            "stage, or take the backbone `lattice`",
            where=name,
        ),
        _GAIN.asked(
            float(gains.inverse.nan_to_num(0.0).max()),
            f"small errors of a latent grow that much on the way back; most harm in {layer}; bound the scales, or add the penalty `lipschitz` to the stage",
            where=name,
        ),
    ]


def _outputs(subject: StudySubject, examples: Examples) -> Signature:
    if isinstance(subject.pretrained.model.core, GeneratorCore):
        return _EXPLOSION.asked(None, "the core generates a flow: f is its velocity in latents, and no map of states")
    if examples.from_noise:
        scale = float(examples.x.abs().max()) or 1.0
        noise = torch.randn(len(examples.x), examples.f.domain.dim, generator=torch.Generator().manual_seed(_SEED)).to(examples.x)
        largest = float(examples.f(noise.reshape(-1, *examples.f.domain.shape)).abs().max()) / scale
        return _EXPLOSION.asked(
            largest, "samples leave the range of data: the prior does not fit the latents, or the inverse is steep there; lower the temperature"
        )
    found = {}
    for name, x in _inputs(examples).items():
        scale = float(x.abs().max()) or 1.0
        found[name] = unless_refused(lambda x=x, scale=scale: float(examples.f(x).abs().max()) / scale, math.inf)  # type: ignore[misc]
    worst = max(found, key=lambda name: or_infinite(found[name]))
    return _EXPLOSION.asked(
        found[worst],
        f"worst on {worst}; g^-1 explodes away from the latents of data: bound its gain (`lipschitz`, `log_scale_budget`), or show such inputs in training",
    )


def _inputs(examples: Examples) -> dict[str, Tensor]:
    x = examples.x
    far = far_off_inputs(tuple(x.shape[1:]), len(x), torch.Generator(x.device).manual_seed(_SEED), reference=x)
    return {"data": x, **far}


# --- what is asked -------------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class _Question:
    """A signature before it is measured."""

    name: str
    warn: float
    fail: float
    measured: str
    smallest: bool = False

    def asked(self, number: float | None, advice: str, *, where: str = "") -> Signature:
        name = f"{self.name} ({where})" if where not in ("", "g") else self.name
        return Signature(name, number, self.warn, self.fail, self.measured, advice, self.smallest)


_DISAGREEMENT = _Question("one step is not many", 1e-4, 1e-2, "saved operator against the loop of its own steps, relative")
_COARSE = _Question("too few steps", 1e-2, 1e-1, "saved operator against the exact flow to the same end, relative")
_DRIFT = _Question("idempotency drift", 1e-4, GREY, "largest |f(f(x)) - f(x)| on data and far off it, in the range of the inputs")
_COLLISION = _Question(
    "latents not injective", 1e-2, 1e-4, "smallest |g(x) - g(y)| / |x - y|, test examples and neighbours; 0 for a shared latent", smallest=True
)
_ROUND_TRIP = _Question("round trip", 1e-4, GREY, "largest |g^-1(g(x)) - x| on data, far off it and where a search led, relative to the largest entry")
_GAIN = _Question("exploding inverse", 1e2, 1e4, "largest singular value of the Jacobian of g^-1 at test examples")
_EXPLOSION = _Question("exploding outputs", 1e1, 1e2, "largest |f(x)| on data and far off it, relative to the largest entry of the input")
