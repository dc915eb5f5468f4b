"""The laws of a core: of a module that makes a linear operator of its parameters and, it may be, of the time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator, GeneratorCore, TimeDependentCore
from linearizer_core.errors import CheckFailure, ConditionError, ConfigError, LinearizerError, NoTerminalLimitError, NotInitializedError, UnknownSolverError
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import time_grid
from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.numerics import largest_error, require_close, require_same_bits
from linearizer_core.testing.operator import CHECKS as LAWS
from linearizer_core.testing.perturb import fresh, moved
from linearizer_core.testing.subjects import CoreSubject, OperatorSubject

_EXACT = 1e-10
_FLOAT32 = 1e-4
_NOTICEABLE = 1e-6
_TIMES = (0.0, 0.3, 0.7, 1.0)
_STEPS = 6


@final
@dataclass(frozen=True)
class _Specimen:
    """A core whose parameters have moved, in evaluation mode and float64."""

    core: CoreOperator
    make: Callable[[], CoreOperator]

    def __str__(self) -> str:
        return f"shape {self.core.shape}"

    def fresh(self) -> CoreOperator:
        """Another core of the same kind in its initial state, drawn from another seed."""
        return fresh(self.make, seed=99)

    def operators(self, core: CoreOperator | None = None) -> list[LinearOperator]:
        """The operators at a few times, or the only one."""
        core = core or self.core
        dtype = _dtype(core)
        times = [Condition(time=torch.tensor([t], dtype=dtype)) for t in _TIMES] if isinstance(core, TimeDependentCore) else [None]
        return [core.operator(Condition(**{**(time or {}), **self.labels(0)}) or None) for time in times]

    def labels(self, value: int) -> dict[str, Tensor]:
        """Every categorical condition of the core at one value."""
        return {name: torch.full((1,), value % categories) for name, categories in self.core.conditions.items()}


def _specimens(subject: CoreSubject, *, conditional: bool = False) -> Iterator[_Specimen]:
    found = False
    for shape in subject.shapes:
        make = partial(subject.make, shape, conditional=conditional)
        try:
            make()
        except LinearizerError:
            continue
        found = True
        specimen = _Specimen(moved(make, subject.prepare or (lambda core: None)), make)
        try:
            specimen.operators()
        except NotInitializedError as error:
            raise SkipCheck(f"{error}; give CoreSubject a function prepare that does so") from error
        yield specimen
    if not found:
        raise SkipCheck("no shape can be made; see the check construction")


def _flows(subject: CoreSubject) -> Iterator[TimeDependentCore]:
    for specimen in _specimens(subject):
        if not isinstance(specimen.core, TimeDependentCore):
            raise SkipCheck("it does not depend on time")
        yield specimen.core


# --- every core ----------------------------------------------------------------------------------------


def construction(subject: CoreSubject, context: Context) -> str:
    refused: dict[tuple[int, int], str] = {}
    for shape in subject.shapes:
        try:
            made = subject.make(shape)
        except LinearizerError as error:
            refused[shape] = str(error)
            continue
        if made.shape != tuple(shape):
            raise CheckFailure(f"asked for shape {shape}, got {made.shape}; pass the shape on to super().__init__")
    if len(refused) == len(subject.shapes):
        shape, reason = next(iter(refused.items()))
        raise CheckFailure(f"none of {len(refused)} shapes can be made; {shape}: {reason}")
    works = f"{len(subject.shapes) - len(refused)} of {len(subject.shapes)} shapes"
    return "; ".join([works, *(f"refused {shape}: {reason}" for shape, reason in refused.items())])


def operator_shape(subject: CoreSubject, context: Context) -> str:
    kinds: dict[str, None] = {}
    for specimen in _specimens(subject):
        for made in specimen.operators():
            if not isinstance(made, LinearOperator) or made.shape != specimen.core.shape:
                raise CheckFailure(f"{specimen}: operator() gives {made!r}, expected a LinearOperator of shape {specimen.core.shape}")
            kinds[type(made).__name__] = None
    return ", ".join(kinds)


def laws_of_operator(subject: CoreSubject, context: Context) -> None:
    for specimen in _specimens(subject):
        for made in specimen.operators():
            for check in LAWS:
                try:
                    check(OperatorSubject(made), context)
                except SkipCheck:
                    continue
                except CheckFailure as failure:
                    raise CheckFailure(f"{specimen}: its operator {made!r} breaks the law {check.name}: {failure}") from failure


def dtype(subject: CoreSubject, context: Context) -> None:
    for specimen in _specimens(subject):
        wide = [made.to_dense().clone() for made in specimen.operators()]  # a matrix that is a parameter changes with it
        specimen.core.float()
        for expected, made in zip(wide, specimen.operators(), strict=True):
            if (expected.dtype, made.dtype) != (torch.float64, torch.float32):
                found = f"float64 parameters give {expected.dtype} and float32 parameters {made.dtype}"
                raise CheckFailure(f"{specimen}: {found}; the operator must have the dtype of the parameters")
            claim = f"{specimen}: in float32 it makes another operator"
            require_close(made.to_dense(), expected, _FLOAT32, claim, "compute in float64 what loses digits")


def gradients(subject: CoreSubject, context: Context) -> str:
    count = 0
    for specimen in _specimens(subject):
        core = specimen.core.train()
        named = [(name, parameter) for name, parameter in core.named_parameters() if parameter.requires_grad]
        if not named:
            continue
        count = len(named)
        z = torch.randn(5, core.shape[1], dtype=torch.float64)
        _require_gradients(f"{specimen}, through operator", torch.stack([made(z) for made in specimen.operators()]), named)
        if isinstance(core, TimeDependentCore):
            _require_gradients(f"{specimen}, through predict", core.predict(z, torch.linspace(0.1, 0.9, len(z), dtype=torch.float64)), named)
    if not count:
        raise SkipCheck("it has no trained parameters")
    return f"{count} parameters"


def _require_gradients(where: str, output: Tensor, named: list[tuple[str, nn.Parameter]]) -> None:
    cause = "keep the graph from the parameters: no detach, no numbers, no no_grad"
    if not output.requires_grad:
        raise CheckFailure(f"{where}: no gradient reaches any parameter; {cause}")
    found = torch.autograd.grad((torch.randn_like(output) * output).sum(), [parameter for _, parameter in named], allow_unused=True)
    for (name, _), gradient in zip(named, found, strict=True):
        if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
            raise CheckFailure(f"{where}: no finite gradient, or only zeros, reaches the parameter {name!r}; {cause}")


def state_dict(subject: CoreSubject, context: Context) -> None:
    for specimen in _specimens(subject):
        other = specimen.fresh().eval()
        other.load_state_dict(specimen.core.state_dict())
        cause = "something that matters is neither parameter nor buffer, or is drawn anew"
        for first, second in zip(specimen.operators(), specimen.operators(other), strict=True):
            require_same_bits(second.to_dense(), first.to_dense(), f"{specimen}: loaded into a fresh object, the operator differs", cause)


def modes_agree(subject: CoreSubject, context: Context) -> None:
    for specimen in _specimens(subject):
        expected = [made.to_dense() for made in specimen.operators()]
        for mode, core in (("evaluation", specimen.core.eval()), ("training", specimen.core.train())):
            for first, second in zip(expected, specimen.operators(core), strict=True):
                claim = f"{specimen}: called again in {mode} mode the operator differs"
                require_close(second.to_dense(), first, _EXACT, claim, "nothing may be drawn at random, and modes must agree")


def conditions_used(subject: CoreSubject, context: Context) -> str:
    for specimen in _specimens(subject, conditional=True):
        core = specimen.core
        if not core.conditions:
            continue
        time = {"time": torch.tensor([0.5], dtype=torch.float64)} if isinstance(core, TimeDependentCore) else {}
        for name, categories in core.conditions.items():
            labels = [{**specimen.labels(0), name: torch.tensor([value])} for value in range(categories)]
            matrices = [core.operator(Condition(**time, **each)).to_dense() for each in labels]
            if any(largest_error(*pair) < _NOTICEABLE for pair in pairwise(matrices)):
                raise CheckFailure(f"{specimen}: condition {name!r} is declared, but two of its values give one operator; use it, or do not declare it")
        try:
            core.operator(Condition(**time) if time else None)
        except ConditionError:
            return ", ".join(core.conditions)
        raise CheckFailure(f"{specimen}: it declares conditions ({', '.join(core.conditions)}), but works without; raise ConditionError")
    raise SkipCheck("it takes no conditions")


# --- cores that generate a flow ----------------------------------------------------------------------------


def flow(subject: CoreSubject, context: Context) -> str:
    largest = 0.0
    for specimen in _specimens(subject):
        core = specimen.core
        if not isinstance(core, GeneratorCore):
            raise SkipCheck("it generates no flow in continuous time")
        z, s, t = (torch.randn(*shape, dtype=torch.float64) for shape in ((4, core.dim), (4,), (4,)))
        one_by_one = torch.stack([core.generator_at(row).expm(float(time))(row) for row, time in zip(z, t, strict=True)])
        claim = f"{specimen}: evolve(z, t) is not the exponential of generator_at(z), row by row"
        require_close(core.evolve(z, t), one_by_one, _EXACT, claim, "the two must be one flow")
        claim = f"{specimen}: evolving for s and then for t is not evolving for s + t"
        cause = "the generator may depend on z through invariants of its own flow only"
        largest = max(largest, require_close(core.evolve(core.evolve(z, s), t), core.evolve(z, s + t), _EXACT, claim, cause))
    return f"largest error {largest:.1e}"


# --- cores that depend on time ----------------------------------------------------------------------------


def predict_matches_at(subject: CoreSubject, context: Context) -> str:
    largest = 0.0
    for core in _flows(subject):
        t = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
        z = torch.randn(len(t), core.dim, dtype=torch.float64)
        expected = torch.stack([core.at(time)(row) for time, row in zip(t.tolist(), z, strict=True)])
        cause = "the two must be one function of time"
        largest = max(largest, require_close(core.predict(z, t), expected, _EXACT, f"shape {core.shape}: predict(z, t) is not at(t)(z)", cause))
    for specimen in _specimens(subject, conditional=True):
        made = specimen.core
        if not made.conditions or not isinstance(made, TimeDependentCore):
            continue
        t = torch.linspace(0, 1, 6, dtype=torch.float64)
        z = torch.randn(len(t), made.dim, dtype=torch.float64)
        rows = [Condition(**specimen.labels(value)) for value in range(len(t))]
        expected = torch.stack([made.given(row).at(time)(vector) for row, time, vector in zip(rows, t.tolist(), z, strict=True)])
        together = Condition(**{name: torch.cat([row[name] for row in rows]) for name in made.conditions})
        claim, cause = f"{specimen}: under conditions predict(z, t) is not at(t)(z), row by row", "predict takes one row of self.condition for each example"
        largest = max(largest, require_close(made.given(together).predict(z, t), expected, _EXACT, claim, cause))
    return f"largest error {largest:.1e}"


def at_times(subject: CoreSubject, context: Context) -> None:
    times = torch.tensor([0.2, 0.0, 0.9, 0.5, 0.9, 1.0], dtype=torch.float64)
    for core in _flows(subject):
        together, cause = core.at_times(times), "the operators come in the order of the times"
        if len(together) != len(times):
            raise CheckFailure(f"shape {core.shape}: at_times gives {len(together)} operators for {len(times)} times; {cause}")
        for t, found in zip(times.tolist(), together, strict=True):
            require_close(found.to_dense(), core.at(t).to_dense(), _EXACT, f"shape {core.shape}: at_times at t = {t} is not at({t})", cause)


def velocity(subject: CoreSubject, context: Context) -> None:
    for core in _flows(subject):
        z = torch.randn(3, core.dim, dtype=torch.float64)
        for t in (0.0, 0.4, 0.9):
            expected = (core.at(t)(z) - z) / (1 - t)
            claim = f"shape {core.shape}: velocity_at({t}) is not (A_t - I)/(1 - t)"
            require_close(core.velocity_at(t)(z), expected, _EXACT, claim, "an overridden velocities must give the same operator")


def collapse(subject: CoreSubject, context: Context) -> str:
    largest: dict[str, float] = {}
    for core in _flows(subject):
        z = torch.randn(3, core.dim, dtype=torch.float64)
        for terminal, solver in product(core.terminals, core.solvers):
            grids = [time_grid(_STEPS, terminal), torch.tensor([0.1, 0.25, 0.6], dtype=torch.float64)]
            for grid in grids[terminal == "last_step" :]:  # at t = 1 the solver may be refused, see the check terminal
                with torch.no_grad():
                    collapsed, loop = core.propagator(grid, solver, terminal=terminal), core.integrate(z, grid, solver, terminal=terminal)
                where = f"shape {core.shape}, solver {solver!r}, terminal {terminal!r}"
                if collapsed.dtype != torch.float64:
                    raise CheckFailure(f"{where}: the propagator is {collapsed.dtype}, expected torch.float64")
                claim = f"{where}: the collapsed operator is not the loop"
                error = require_close(collapsed(z), loop, _EXACT, claim, "propagator and integrate must take the same steps, the last one leftmost")
                largest[solver] = max(largest.get(solver, 0.0), error)
    return ", ".join(f"{solver} {error:.1e}" for solver, error in largest.items())


def grids(subject: CoreSubject, context: Context) -> None:
    for core in _flows(subject):
        z = torch.randn(1, core.dim, dtype=torch.float64)
        for what, grid, solver, expected in (
            ("a solver that is not offered", time_grid(3), "no-such-solver", UnknownSolverError),
            ("a grid that decreases", torch.tensor([0.5, 0.2]), core.solvers[0], ConfigError),
            ("a grid outside [0, 1]", torch.tensor([0.5, 1.5]), core.solvers[0], ConfigError),
        ):
            for name in ("propagator", "integrate"):
                arguments = (grid, solver) if name == "propagator" else (z, grid, solver)
                try:
                    getattr(core, name)(*arguments)
                except expected:
                    continue
                raise CheckFailure(f"shape {core.shape}: {name} accepts {what}, expected {expected.__name__}; call self.check_flow(grid, solver) first")


def terminal(subject: CoreSubject, context: Context) -> str:
    reached: dict[str, None] = {}
    for core in _flows(subject):
        for rule, solver in product(core.terminals, core.solvers):
            try:
                with torch.no_grad():
                    last = core.propagator(time_grid(4, rule), solver, terminal=rule).to_dense()
            except NoTerminalLimitError as error:
                if rule == "last_step":
                    continue
                raise CheckFailure(f"shape {core.shape}: it offers terminal {rule!r}, but with solver {solver!r} {error}; take it out of terminals") from error
            if not bool(last.isfinite().all()):
                raise CheckFailure(f"shape {core.shape}, solver {solver!r}, terminal {rule!r}: the propagator is not finite; raise NoTerminalLimitError")
            if rule != "early":
                reached[f"{solver} ({rule})"] = None
    return f"reach t = 1: {', '.join(reached) or 'none'}"


def leading_rank(subject: CoreSubject, context: Context) -> str:
    for core in _flows(subject):
        rank = core.leading_rank
        if rank is None:
            raise SkipCheck("leading_rank is None")
        for t in _TIMES:
            matrix = core.at(t).to_dense()
            outside = matrix.clone()
            outside[:rank, :rank] = 0
            if float(outside.detach().abs().max()) > _EXACT:
                raise CheckFailure(f"shape {core.shape}: leading_rank is {rank}, but A_t at t = {t} acts on other coordinates than the first {rank}")
            if t > 0 and int(torch.linalg.matrix_rank(matrix)) != rank:
                raise CheckFailure(f"shape {core.shape}: leading_rank is {rank}, but A_t at t = {t} has rank {int(torch.linalg.matrix_rank(matrix))}")
    return f"rank {rank}"


def _dtype(core: CoreOperator) -> torch.dtype:
    return next((tensor.dtype for tensor in (*core.parameters(), *core.buffers()) if tensor.is_floating_point()), torch.float64)


CHECKS = tuple(
    Check(name, "core", law, function)
    for name, law, function in (
        ("construction", "it can be made for some shapes, and refuses others by an error of ours", construction),
        ("operator-shape", "operator() gives a linear operator of its shape", operator_shape),
        ("operator-laws", "that operator keeps all laws of operators", laws_of_operator),
        ("dtype", "the operator has the dtype of the parameters, and float32 agrees with float64", dtype),
        ("gradients", "gradients reach every trained parameter, through operator and through predict", gradients),
        ("state-dict", "loaded into a fresh object it gives the same bits", state_dict),
        ("modes-agree", "two calls, and both modes, give the same operator", modes_agree),
        ("conditions-used", "a declared condition changes the operator, and must be given", conditions_used),
        ("flow", "for a generator, evolving for s and then for t is evolving for s + t, and the exponential of the generator at each latent", flow),
        ("predict-matches-at", "predict(z, t) is at(t)(z), under conditions too, row by row", predict_matches_at),
        ("at-times", "at_times gives at(t) for each of the times, in their order", at_times),
        ("velocity", "velocity_at(t) is (A_t - I)/(1 - t)", velocity),
        ("collapse", "for every solver and terminal rule, the collapsed operator is the loop", collapse),
        ("grids", "an unknown solver, and a grid that decreases or leaves [0, 1], are refused", grids),
        ("terminal", "a propagator to t = 1 is finite, or refused; where the rule limit is offered, it is finite", terminal),
        ("leading-rank", "where leading_rank r is declared, A_t keeps the first r coordinates and nothing else", leading_rank),
    )
)
