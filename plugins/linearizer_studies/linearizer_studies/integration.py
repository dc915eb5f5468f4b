"""The collapsed flow against the loop and against the exact flow: over T, solver and rule for the end."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from linearizer_core.condition import Condition
from linearizer_core.cores import FlowPlan, TimeDependentCore
from linearizer_core.errors import ConfigError, NoTerminalLimitError, StepSizeError
from linearizer_core.figures.curves import save_curves
from linearizer_core.metrics import relative_error
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import SOLVERS, Terminal, time_grid
from linearizer_core.study import Row, Study, StudyReport, StudySubject
from linearizer_studies.config import IntegrationConfig
from linearizer_studies.examples import core_condition, psnr_db
from linearizer_studies.words import listed, number

CLOSED_FORM = "exact"
"""The name of the solver of a core that knows its propagator in closed form."""

NOTES = {
    "solvers": "compared",
    "terminals": "rules for the end of the flow that were compared",
    "reference": "what is called the exact flow",
    "largest_vs_loop_float64": "relative error of B z against the loop, all solvers, rules and T",
    "largest_vs_loop": "the same with B and z in the dtype of the model",
    "stopping_short": "exact flow to t = 1 - 1/T against that to t = 1, at the largest T",
    "saved_vs_exact": "the operator of the saved model against the exact flow to where it ends",
    "saved_psnr_db": "the same in decoded outputs, decibels",
}
_SEED = 0
_ROUNDING = 1e-11
_LARGEST_TOL = 1e-7
_COARSE = 0.3
_SEARCH_SOLVER = "magnus4"


@final
class Integration(Study):
    r"""How far is one step from many, and many from the flow itself?

    For noise z, the collapsed operator B of T solver steps is compared with the loop that it collapses (that difference is rounding), and with the exact flow
    :math:`\Phi` (that one is the discretisation). The order of convergence is the slope of :math:`\log |Bz - \Phi z|` over :math:`\log h`, by least squares on
    the last points before rounding takes over. Everything runs in float64 unless it says otherwise.
    """

    def __init__(self, config: IntegrationConfig) -> None:
        self.config = config

    @torch.no_grad()
    def run(self, subject: StudySubject, folder: Path) -> StudyReport:
        """Compare, and draw the errors over T.

        Raises:
            ConfigError: for a model whose core does not depend on time, or a solver or rule that its core does not offer.
        """
        core = _flow_core(subject, self.config)
        bench = _Bench(subject, core, self.config)
        solvers = self.config.solvers or tuple(name for name in core.solvers if name != CLOSED_FORM)
        terminals = self.config.terminals or core.terminals
        rows = [row for terminal in terminals for solver in solvers for row in bench.rows(solver, terminal)]
        if not rows:
            raise ConfigError(f"none of {listed(solvers)} can be used with {listed(terminals)} and T = {self.config.steps}; name others")
        found = [_order_row(solver, terminal, rows, self.config.goals, bench.exact.floor) for terminal in terminals for solver in solvers]
        orders = [row for row in found if row is not None]
        metrics: dict[str, Any] = {
            "solvers": listed(solvers),
            "terminals": listed(terminals),
            "reference": bench.exact.name,
            "largest_vs_loop_float64": max(row["against the loop"] for row in rows),
            "largest_vs_loop": max(row["against the loop, model dtype"] for row in rows),
        }
        short = [row for row in rows if row["terminal"] == "early" and row["stopping short"] is not None]
        if short:
            metrics["stopping_short"] = short[-1]["stopping short"]
        metrics |= bench.saved(subject)
        figures = _draw(rows, terminals, solvers, folder)
        return StudyReport(metrics, figures, NOTES, tuple(_findings(rows, orders, metrics, self.config)), {"Order of convergence": orders, "Errors": rows})


@final
class _Exact:
    """The exact flow of a core on given vectors, in float64: in closed form, or by steps chosen for an error; up to any time."""

    def __init__(self, core: TimeDependentCore, z: Tensor, tol: float) -> None:
        self.core, self.tol = core, tol
        self.closed = CLOSED_FORM in core.solvers
        self._known: dict[tuple[float, bool], Tensor] = {(0.0, False): z}

    @property
    def name(self) -> str:
        """What the flow is known from."""
        return "the closed form of the core" if self.closed else f"{_SEARCH_SOLVER}, steps chosen for an error of {self.tol:.0e}"

    @property
    def floor(self) -> float:
        """Errors below it are not those of a solver."""
        return _ROUNDING if self.closed else max(_ROUNDING, 10 * self.tol)

    def at(self, time: float, terminal: Terminal) -> Tensor | None:
        """The vectors at ``time``; None where the flow has no end at t = 1."""
        limit = time == 1 and not self.closed
        if limit and "limit" not in self.core.terminals:
            return None
        if (time, limit) not in self._known:
            # From the last known time on: the rules "early" for many T ask for many ends.
            start = 0.0 if limit or self.closed else max(known for known, end in self._known if known <= time and not end)
            self._known[time, limit] = self._propagator(start, time, "limit" if limit else "last_step")(self._known[start, False])
        return self._known[time, limit]

    def _propagator(self, start: float, stop: float, terminal: Terminal) -> LinearOperator:
        if self.closed:
            return self.core.propagator(torch.tensor([start, stop], dtype=torch.float64), CLOSED_FORM)
        while True:
            try:
                found = self.core.adaptive_grid(tol=self.tol, solver=_SEARCH_SOLVER, terminal=terminal, start=start, stop=stop)
                return self.core.propagator(found.times, _SEARCH_SOLVER, terminal=terminal)
            except StepSizeError:  # rounding of large dense operators is above small errors
                if self.tol > _LARGEST_TOL:
                    raise
                self.tol *= 10


@final
class _Bench:
    """The vectors, the exact flow, and the bijection that decodes."""

    def __init__(self, subject: StudySubject, core: TimeDependentCore, config: IntegrationConfig) -> None:
        model = subject.pretrained.model
        weight = next(model.parameters())
        generator = torch.Generator(weight.device).manual_seed(_SEED)
        noise = torch.randn(config.examples, *model.gx.in_shape, generator=generator, device=weight.device).to(weight.dtype)
        conditions = {**model.gx.conditions, **model.gy.conditions}
        drawn = {name: torch.arange(config.examples, device=weight.device) % count for name, count in conditions.items()}
        self.config = config
        self.own, self.core = core, copy.deepcopy(core).double()
        domain, self.space = (make(Condition(**drawn) if drawn else None) for make in (model.domain, model.codomain))
        self.latent = domain.to_latent(noise)
        self.z = self.latent.double()
        self.exact = _Exact(self.core, self.z, config.tol)

    def rows(self, solver: str, terminal: Terminal) -> list[dict[str, Any]]:
        """A row for each T that solver and rule allow."""
        found = []
        for steps in self.config.steps:
            if terminal == "early" and steps < 2:
                continue
            try:
                found.append(self._row(FlowPlan(time_grid(steps, terminal), solver, terminal), steps))
            except NoTerminalLimitError:  # the solver evaluates the end of its last step, where the velocity is singular
                return []
        return found

    def saved(self, subject: StudySubject) -> dict[str, float]:
        """The operator of the saved model against the exact flow to the same end."""
        config = subject.pretrained.task.collapse()
        operator = subject.pretrained.operator
        if config is None or operator is None or self.config.condition:
            return {}
        plan = self.own.plan(config.steps, config.solver, config.terminal)
        exact = self.exact.at(plan.grid[-1].item(), plan.terminal)
        if exact is None:
            return {}
        one = operator(self.latent)
        return {"saved_vs_exact": relative_error(one.double(), exact), "saved_psnr_db": self._psnr(one, exact)}

    def _row(self, plan: FlowPlan, steps: int) -> dict[str, Any]:
        propagator = self.core.propagator(plan.grid, plan.solver, terminal=plan.terminal)
        one = propagator(self.z)
        narrow = propagator.to(self.latent.dtype)(self.latent)
        stop = plan.grid[-1].item()
        exact, end = self.exact.at(stop, plan.terminal), self.exact.at(1.0, "limit")
        return {
            "terminal": plan.terminal,
            "solver": plan.solver,
            "T": steps,
            "against the loop": relative_error(one, self.core.integrate(self.z, plan.grid, plan.solver, terminal=plan.terminal)),
            "against the loop, model dtype": relative_error(
                narrow.double(), self.own.integrate(self.latent, plan.grid, plan.solver, terminal=plan.terminal).double()
            ),
            "against the exact flow": None if exact is None else relative_error(one, exact),
            "PSNR of outputs, dB": None if exact is None else self._psnr(narrow, exact),
            "stopping short": relative_error(exact, end) if stop < 1 and exact is not None and end is not None else None,
        }

    def _psnr(self, latents: Tensor, exact: Tensor) -> float:
        shown = torch.arange(min(self.config.images, len(latents)), device=latents.device)
        condition = None if self.space.condition is None else self.space.condition.rows(shown)
        space = type(self.space)(self.space.bijection, condition)
        one, many = (space.from_latent(each[shown].to(latents.dtype)) for each in (latents, exact))
        return psnr_db(one, many)


@dataclass(frozen=True)
class Fit:
    """A fitted order of convergence: the slope, and the T from which and to which points were used."""

    order: float
    first: int
    last: int


def fit_order(steps: Sequence[int], errors: Sequence[float], *, points: int = 4, floor: float = _ROUNDING) -> Fit | None:
    r"""The slope of :math:`-\log e` over :math:`\log T` by least squares, on the last ``points`` before rounding takes over.

    Errors above 0.3 are not yet in the regime of the solver; from the first error below ``floor`` on, rounding decides. None where fewer than
    three points remain.

    Example:
        >>> fit = fit_order([2, 4, 8, 16, 32], [1e-1, 2.5e-2, 6.25e-3, 1.5625e-3, 1e-15])
        >>> round(fit.order, 6), fit.first, fit.last
        (2.0, 2, 16)
    """
    used: list[tuple[int, float]] = []
    for count, error in zip(steps, errors, strict=True):
        if not error > floor or (used and error >= used[-1][1]):
            break
        if error < _COARSE:
            used.append((count, error))
    used = used[-points:]
    if len(used) < 3:
        return None
    x, y = (torch.tensor([math.log(pair[part]) for pair in used], dtype=torch.float64) for part in (0, 1))
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    return Fit(-slope.item(), used[0][0], used[-1][0])


def _flow_core(subject: StudySubject, config: IntegrationConfig) -> TimeDependentCore:
    pretrained = subject.pretrained
    core = pretrained.task.core(pretrained.model)
    if not isinstance(core, TimeDependentCore):
        raise ConfigError(
            f"integration needs a core that depends on time, such as that of a flow; {subject.name} has a {type(core).__name__}: nothing to integrate"
        )
    return core.given(core_condition(config.condition, next(pretrained.model.parameters()).device)) if config.condition else core


def _order_row(solver: str, terminal: str, rows: Sequence[Row], goals: Sequence[float], floor: float) -> dict[str, Any] | None:
    own = [row for row in rows if row["solver"] == solver and row["terminal"] == terminal and row["against the exact flow"] is not None]
    if not own:
        return None
    fit = fit_order([row["T"] for row in own], [row["against the exact flow"] for row in own], floor=floor)
    smallest = {f"T for {goal:g}": next((row["T"] for row in own if row["against the exact flow"] <= goal), None) for goal in goals}
    return {
        "terminal": terminal,
        "solver": solver,
        "order of the solver": SOLVERS[solver].order if solver in SOLVERS else None,
        "fitted order": fit and fit.order,
        "on T": fit and f"{fit.first} to {fit.last}",
        **smallest,
        "one solver step": next((row["against the exact flow"] for row in own if row["T"] == 1), None),
    }


def _findings(rows: Sequence[Row], orders: Sequence[Row], metrics: dict[str, Any], config: IntegrationConfig) -> list[str]:
    worst = max(rows, key=lambda row: row["against the loop, model dtype"])
    found = [
        f"Collapse against loop, over all {len(rows)} combinations: at most {number(metrics['largest_vs_loop_float64'])} relative in float64, and "
        f"{number(metrics['largest_vs_loop'])} in the dtype of the model ({worst['solver']}, {worst['terminal']}, T = {worst['T']})."
    ]
    for terminal in dict.fromkeys(row["terminal"] for row in orders):
        own = [row for row in orders if row["terminal"] == terminal]
        for goal in config.goals:
            reached = {row["solver"]: row[f"T for {goal:g}"] for row in own if row[f"T for {goal:g}"] is not None}
            missed = [row["solver"] for row in own if row["solver"] not in reached]
            parts = [", ".join(f"{solver} from T = {steps}" for solver, steps in sorted(reached.items(), key=lambda item: item[1]))] if reached else []
            parts += [f"not {listed(missed)} up to T = {max(config.steps)}"] if missed else []
            found.append(f"Rule {terminal}: within {goal:g} of the exact flow are " + "; ".join(parts) + "." if parts else "")
        fitted = [row for row in own if row["fitted order"] is not None and row["order of the solver"]]
        for verb, sign in (("falls short of", -1), ("exceeds", 1)):
            off = [row for row in fitted if sign * (row["fitted order"] - row["order of the solver"]) > 0.5]
            if off:
                told = listed([f"{row['solver']} ({row['fitted order']:.1f}, not {row['order of the solver']})" for row in off])
                found.append(f"Rule {terminal}: the fitted order {verb} that of the solver for {told}.")
    alone = [row for row in orders if row["one solver step"] is not None]
    if alone:
        best = min(alone, key=lambda row: row["one solver step"])
        found.append(
            f"A single solver step, without any steps to collapse, is off by {number(best['one solver step'])} at best ({best['solver']}, {best['terminal']}): "
            + ("one is enough." if best["one solver step"] <= max(config.goals) else "one is not enough.")
        )
    if "stopping_short" in metrics:
        found.append(f"Stopping at t = 1 - 1/T costs {number(metrics['stopping_short'])} of the latent at T = {max(config.steps)}, whatever the solver.")
    elif any(row["terminal"] == "early" for row in rows) and not any(row["stopping short"] for row in rows):
        found.append("The core has no limit at t = 1: where the flow ends decides what it gives, and every figure here is for its own end.")
    if "saved_vs_exact" in metrics:
        error = metrics["saved_vs_exact"]
        away = (
            f"is off by {number(error)} from the exact flow, {number(metrics['saved_psnr_db'])} dB in outputs" if error else "gives the exact flow to the bit"
        )
        found.append(f"The operator that is saved {away}.")
    return [sentence for sentence in found if sentence]


def _draw(rows: Sequence[Row], terminals: Sequence[str], solvers: Sequence[str], folder: Path) -> tuple[str, ...]:
    figures = []
    for terminal in terminals:
        curves = {
            solver: ([row["T"] for row in own], [row["against the exact flow"] for row in own])
            for solver in solvers
            if (own := [row for row in rows if (row["solver"], row["terminal"]) == (solver, terminal) and row["against the exact flow"] is not None])
        }
        if not curves:
            continue
        loop = max(row["against the loop, model dtype"] for row in rows if row["terminal"] == terminal)
        figures.append(f"errors_{terminal}.png")
        save_curves(
            folder / figures[-1],
            f"One step against the exact flow, rule {terminal}",
            curves,
            x="T, solver steps",
            y="relative error",
            log_x=True,
            log_y=True,
            levels={"largest difference from the loop, model dtype": loop},
        )
    return tuple(figures)
