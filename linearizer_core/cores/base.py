"""The learnable core: a module that turns its parameters, and a condition, into a linear operator."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, ConfigError, NoTerminalLimitError, ShapeMismatchError, UnknownSolverError
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import (
    SOLVERS,
    TERMINALS,
    AdaptiveGrid,
    BatchedFlow,
    Flow,
    Terminal,
    adaptive_grid,
    collapse,
    grid_times,
    integrate,
    time_grid,
    velocity_operator,
)


class CoreOperator(nn.Module, ABC):
    r"""Parameters (and a condition) in, a linear operator :math:`A: \mathbb{R}^n \to \mathbb{R}^m` out.

    Note to implementers. A core MUST call ``super().__init__((m, n))`` and implement `operator`. The operator it returns
    keeps the graph to the parameters, so that losses may go through it. Names of categorical conditions it uses go into
    ``conditions`` (name to number of categories).
    """

    def __init__(self, shape: tuple[int, int], *, conditions: dict[str, int] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.conditions: dict[str, int] = dict(conditions or {})

    @abstractmethod
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        """The operator under ``condition``."""


@final
@dataclass(frozen=True)
class FlowPlan:
    """How a flow is integrated: over the times of ``grid``, by ``solver``, with the rule ``terminal`` for its end.

    ``error_bound`` is that of `AdaptiveGrid`, where the times were chosen for an error.
    """

    grid: Tensor
    solver: str
    terminal: Terminal
    error_bound: float | None = None


class TimeDependentCore(CoreOperator):
    r"""A core :math:`A_t` that predicts the end point of a flow, :math:`A_t z_t \approx z_1`, for t in [0, 1].

    On the straight path :math:`z_t = (1-t) z_0 + t z_1` the velocity is :math:`v = (A_t z - z)/(1-t)`, linear in z; so
    a solver with any number of steps is one linear operator, its *propagator* (arXiv 2510.08570, section on one-step
    flow matching).

    Note to implementers. Implement `at` and `predict`; they must agree: ``predict(z, t)[i] == at(t[i])(z[i])``. Override `at_times` where many times
    cost little more than one. A core whose velocity has a regular form up to t = 1 adds ``"limit"`` to ``terminals`` and overrides `flow`; one that
    knows its propagator in closed form adds a name to ``solvers`` and overrides `propagator`, `integrate` and `adaptive_grid`. One with categorical
    conditions declares them, and finds in ``condition`` those it is `given`: one row for each example in `predict`, one in all elsewhere.
    """

    solvers: ClassVar[tuple[str, ...]] = tuple(SOLVERS)
    terminals: ClassVar[tuple[Terminal, ...]] = ("early", "last_step")
    default_solver: ClassVar[str] = "rk4"
    default_terminal: ClassVar[Terminal] = "early"
    leading_rank: int | None = None
    """r, where A_t keeps the first r coordinates and maps the others to zero; None for any other core."""
    condition: Condition | None = None
    """The conditions under which it is; None where it was given none."""

    def __init__(self, dim: int, *, conditions: dict[str, int] | None = None) -> None:
        super().__init__((dim, dim), conditions=conditions)
        self.dim = dim

    def given(self, condition: Condition | None) -> Self:
        """This core under those of the conditions that it declares. Parameters are shared, not copied; a core that declares none stays as it is.

        Example:
            >>> from linearizer_core import Condition, create_core
            >>> core = create_core("shared_subspace", (8, 8), conditions={"label": 10}, rank=3)
            >>> core.given(Condition(label=torch.tensor([7]))).one_step().rank()
            3
        """
        if not self.conditions:
            return self
        view = copy.copy(self)
        view.condition = condition.only(self.conditions) if condition is not None else None
        return view

    @abstractmethod
    def at(self, t: float) -> LinearOperator:
        """The operator A_t at one time t in [0, 1]."""

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        """``A_t z`` for a batch ``z`` of shape ``(B, D)`` with one time each, ``t`` of shape ``(B,)``. Differentiable: training runs through it."""

    def at_times(self, times: Tensor) -> Sequence[LinearOperator]:
        """The operators A_t at ``times`` ``(N,)``, float64 on the CPU."""
        return [self.at(t) for t in times.tolist()]

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        if condition is None or "time" not in condition or condition["time"].numel() != 1:
            raise ConditionError(f"{type(self).__name__} depends on time; pass Condition(time=torch.tensor([t])) with one t in [0, 1], or call at(t)")
        return self.given(condition).at(condition["time"].item())

    # --- the flow -------------------------------------------------------------------------------

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        """The operators of the velocity, ``(A_t - I)/(1 - t)``, at ``times`` ``(N,)`` before 1."""
        return [velocity_operator(operator, t) for operator, t in zip(self.at_times(times), times.tolist(), strict=True)]

    def velocity_at(self, t: float) -> LinearOperator:
        """The operator of the velocity at one time t < 1."""
        return self.velocities(torch.tensor([t], dtype=torch.float64))[0]

    def flow(self, terminal: Terminal = "early") -> Flow:
        """The flow that solvers integrate: in its regular form where ``terminal`` is ``limit``.

        Raises:
            NoTerminalLimitError: for ``limit``, where the core has no regular form.
            ConfigError: for another rule than those of `Terminal`.
        """
        self.check_terminal(terminal)
        return BatchedFlow(self.velocities)

    def propagator(
        self, grid: Tensor, solver: str = "euler", *, terminal: Terminal = "early", rtol: float | None = None, dtype: torch.dtype = torch.float64
    ) -> LinearOperator:
        """Collapse all steps of ``solver`` over the time ``grid`` into one operator; see `collapse` for what it keeps, ``rtol`` and ``dtype``.

        Arguments:
            grid: N + 1 increasing times in [0, 1].
            solver: a name in ``solvers``.
            terminal: with ``limit`` the regular form is integrated; otherwise the velocity as it is.
            rtol: the relative tolerance of the rank recompression.
            dtype: the precision of the composition and of the result.

        Raises:
            UnknownSolverError: for a solver that this core does not offer.
            ConfigError: for a grid that is not an increasing sequence of at least two times in [0, 1].
            NoTerminalLimitError: for a rule that the core does not offer, or a grid on which the solver would evaluate a singular velocity at t = 1.
        """
        self.check_flow(grid, solver)
        return collapse(self.flow(terminal), grid, solver, rtol=rtol, dtype=dtype)

    def integrate(self, z: Tensor, grid: Tensor, solver: str = "euler", *, terminal: Terminal = "early") -> Tensor:
        """Run the loop that `propagator` collapses: one solver step after another on ``z`` of shape ``(..., D)``, in its dtype."""
        self.check_flow(grid, solver)
        return integrate(self.flow(terminal), z, grid, solver)

    def adaptive_grid(self, *, tol: float, solver: str | None = None, terminal: Terminal | None = None, start: float = 0.0, stop: float = 1.0) -> AdaptiveGrid:
        """The time grid on which ``solver`` comes within ``tol`` of the flow, as an operator: for `propagator` with the same solver and rule.

        Raises:
            StepSizeError: when the steps become too small, as before t = 1 without a regular form, or too many.
            NoTerminalLimitError, UnknownSolverError, ConfigError: as in `propagator`.
        """
        solver = solver or self.default_solver
        self.check_flow(torch.tensor([start, stop], dtype=torch.float64), solver)
        return adaptive_grid(self.flow(terminal or self._terminal(stop)), start, stop, tol=tol, solver=solver)

    def one_step(
        self,
        steps: int = 100,
        solver: str | None = None,
        terminal: Terminal | None = None,
        *,
        start: float = 0.0,
        stop: float = 1.0,
        tol: float | None = None,
        rtol: float | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> LinearOperator:
        """The flow from ``start`` to ``stop`` as one operator.

        Arguments:
            steps: T, the solver steps; with ``tol`` they only say where the rule ``early`` ends.
            solver: a name in ``solvers``; ``default_solver`` when left out.
            terminal: one of ``terminals``; ``default_terminal`` when left out, and before t = 1, where nothing is singular, all steps to ``stop``.
            start: the first time.
            stop: the last time.
            tol: choose the steps so that the operator is within ``tol`` of that of the exact flow; see `adaptive_grid`.
            rtol: the relative tolerance of the rank recompression.
            dtype: the precision of the composition and of the result.

        Raises:
            UnknownSolverError: for a solver that this core does not offer.
            NoTerminalLimitError: for a rule that this core does not offer, or ``last_step`` to t = 1 with a solver that evaluates its end.
            ConfigError: for too few steps, or unless 0 <= ``start`` < ``stop`` <= 1.
            StepSizeError: where no steps meet ``tol``.
        """
        plan = self.plan(steps, solver, terminal, start=start, stop=stop, tol=tol)
        return self.propagator(plan.grid, plan.solver, terminal=plan.terminal, rtol=rtol, dtype=dtype)

    def plan(
        self,
        steps: int = 100,
        solver: str | None = None,
        terminal: Terminal | None = None,
        *,
        start: float = 0.0,
        stop: float = 1.0,
        tol: float | None = None,
    ) -> FlowPlan:
        """What `one_step` does with these arguments: the times, the solver and the rule, for `propagator` and `integrate`. Raises what `one_step` raises."""
        solver, terminal = solver or self.default_solver, terminal or self._terminal(stop)
        self.check_terminal(terminal)
        grid = time_grid(steps, terminal, start=start, stop=stop)
        self.check_flow(grid, solver)
        if tol is None:
            return FlowPlan(grid, solver, terminal)
        if not tol > 0:
            raise ConfigError(f"{type(self).__name__}: tol is {tol}, expected a positive number")
        found = self.adaptive_grid(tol=tol, solver=solver, terminal=terminal, start=grid[0].item(), stop=grid[-1].item())
        return FlowPlan(found.times, solver, terminal, found.error_bound)

    def check_flow(self, grid: Tensor, solver: str) -> list[float]:
        """The times of ``grid``; raise unless they increase within [0, 1] and the core offers ``solver``."""
        if solver not in self.solvers:
            raise UnknownSolverError(f"{type(self).__name__} has no solver {solver!r}; it offers: {', '.join(self.solvers)}")
        times = grid_times(grid)
        if times[0] < 0 or times[-1] > 1:
            raise ConfigError(f"{type(self).__name__}: the time grid runs from {times[0]:g} to {times[-1]:g}, expected times in [0, 1]; time_grid makes one")
        return times

    def check_terminal(self, terminal: str) -> None:
        """Raise unless the core offers the rule ``terminal``."""
        if terminal in self.terminals:
            return
        name, offered = type(self).__name__, ", ".join(self.terminals)
        if terminal in TERMINALS:
            raise NoTerminalLimitError(
                f"{name} has no terminal rule {terminal!r}: its velocity is singular at t = 1 and has no regular form; it offers: {offered}"
            )
        raise ConfigError(f"{name}: terminal is {terminal!r}, expected one of: {offered}")

    def check_batch(self, z: Tensor, t: Tensor) -> None:
        """Raise `ShapeMismatchError` unless ``z`` is ``(B, D)`` and ``t`` ``(B,)``."""
        if z.ndim != 2 or z.shape[1] != self.dim or t.shape != z.shape[:1]:
            raise ShapeMismatchError(f"{type(self).__name__}: z has shape {tuple(z.shape)} and t {tuple(t.shape)}, expected (B, {self.dim}) and (B,)")

    def _terminal(self, stop: float) -> Terminal:
        return "last_step" if stop < 1 and self.default_terminal == "early" else self.default_terminal
