from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.errors import ConfigError, NoTerminalLimitError, StepSizeError, UnknownSolverError
from linearizer_core.operators import Dense, Diagonal, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, Flow, SubspaceFlow, adaptive_grid, collapse, time_grid, velocity_operator
from tests.operators.zoo import normal, seeded

from .examples import VelocityAt, end_point_flow, wave


def error(flow: VelocityAt, times: Tensor, solver: str) -> float:
    """The distance of the collapse over ``times`` from a much finer one, in the operator norm."""
    grid = torch.linspace(float(times[0]), float(times[-1]), 1001, dtype=torch.float64)
    fine = collapse(lambda t: Dense(flow(t).to_dense()), grid, "magnus4").to_dense()
    return float(torch.linalg.matrix_norm(collapse(flow, times, solver, rtol=1e-15).to_dense() - fine, 2))


def smooth(kind: str, seed: int, size: float) -> VelocityAt:
    """A random flow on 7 dimensions whose velocity has a norm of about ``size`` and varies smoothly with t."""
    g = seeded(seed)
    dim, inner = 7, wave(seed, 7 if kind == "dense" else 3, size)
    left, right = (torch.linalg.qr(normal(g, dim, 3)).Q for _ in range(2))
    match kind:
        case "dense":
            return lambda t: Dense(inner(t))
        case "low_rank":
            return lambda t: LowRank(left @ inner(t), right + 0.3 * math.sin(2 * t) * left) - ScaledIdentity(1.0, dim, dtype=torch.float64)
        case "shared_subspace":
            return lambda t: SharedSubspace(math.sin(t) - 1, left, inner(t), right)
        case _:
            return lambda t: Diagonal(torch.cat([inner(t).diagonal(), inner(t)[0], torch.ones(1, dtype=torch.float64)]))


@settings(deadline=None, max_examples=15)
@given(
    kind=st.sampled_from(["dense", "low_rank", "shared_subspace", "diagonal"]), solver=st.sampled_from(list(SOLVERS)),
    seed=st.integers(0, 10_000), size=st.floats(0.2, 6), digits=st.floats(1, 7),
)  # fmt: skip
def test_the_bound_holds_and_meets_the_tolerance(kind: str, solver: str, seed: int, size: float, digits: float) -> None:
    order = SOLVERS[solver].order
    tol, flow = 10 ** -(digits * order / 4), smooth(kind, seed, size)
    found = adaptive_grid(flow, 0.1, 0.9, tol=tol, solver=solver)
    assert float(found.times[0]), float(found.times[-1]) == (0.1, 0.9)
    assert bool((found.times.diff() > 0).all())
    assert found.error_bound <= tol
    assert error(flow, found.times, solver) <= found.error_bound + 1e-13


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_bound_is_not_much_larger_than_the_error(solver: str) -> None:
    flow = smooth("dense", 0, 2.0)
    found = adaptive_grid(flow, tol=1e-2 if solver == "euler" else 1e-3, solver=solver)
    assert found.error_bound < 100 * error(flow, found.times, solver)


def test_steps_follow_the_flow() -> None:
    """Short where the velocity changes fast, long elsewhere; and many fewer than equal steps for the same error."""
    bump = lambda t: Dense(torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64) * 30 * math.exp(-((t - 0.7) ** 2) / 0.001))  # noqa: E731
    found = adaptive_grid(bump, tol=1e-6, solver="rk4")
    shortest = float(found.times[found.times.diff().argmin()])
    assert shortest == pytest.approx(0.7, abs=0.1)
    assert float(found.times.diff().max() / found.times.diff().min()) > 10
    steps = len(found.times) - 1
    equal = time_grid(steps, "last_step")
    assert error(bump, equal, "rk4") > 3 * error(bump, found.times, "rk4")


def test_rejected_steps_are_counted_and_smaller_tolerances_take_more_steps() -> None:
    flow = smooth("dense", 0, 6.0)
    loose, tight = adaptive_grid(flow, tol=1e-1, solver="rk4"), adaptive_grid(flow, tol=1e-9, solver="rk4")
    assert 70 < len(tight.times) / len(loose.times) < 140  # the fourth root of 10^8
    assert tight.rejected > 0


def test_subspaces_are_searched_in_their_own_dimensions() -> None:
    """The same flow on 5 and on 50,000 dimensions gives the same steps; its bound holds for the operator on all of them."""
    grids = []
    for dim in (8, 50_000):
        u = torch.eye(dim, 3, dtype=torch.float64)
        flow = SubspaceFlow(u, u, lambda times: torch.stack([wave(3, 3)(t) for t in times.tolist()]), regular=True)
        grids.append(adaptive_grid(flow, tol=1e-5, solver="magnus4"))
    assert torch.equal(grids[0].times, grids[1].times)
    assert grids[0].error_bound == pytest.approx(grids[1].error_bound, rel=1e-6)


@pytest.mark.parametrize("regular", [True, False])
def test_bounds_of_oblique_subspaces_hold_on_the_whole_space(regular: bool) -> None:
    g = seeded(4)
    for seed in range(4):
        left, right = normal(g, 9, 3), normal(g, 9, 3)
        flow = SubspaceFlow(left, right, lambda times, seed=seed: torch.stack([wave(seed, 3)(t) for t in times.tolist()]), regular=regular)
        found = adaptive_grid(flow, 0.0, 1.0 if regular else 0.8, tol=1e-4, solver="rk4")
        fine = torch.linspace(0, float(found.times[-1]), 2001, dtype=torch.float64)
        difference = collapse(flow, found.times, "rk4").to_dense() - collapse(flow, fine, "rk4").to_dense()
        assert 1e-9 < float(torch.linalg.matrix_norm(difference, 2)) <= found.error_bound <= 1e-4


def test_a_flow_that_changes_its_kind_is_searched_as_operators() -> None:
    first, second = (lambda t: Diagonal(torch.full((4,), -t, dtype=torch.float64))), wave(1, 4)
    mixed: VelocityAt = lambda t: first(t) if t < 0.3 else Diagonal(second(t).diagonal()) + LowRank(torch.ones(4, 1).double(), torch.ones(4, 1).double())  # noqa: E731
    found = adaptive_grid(mixed, tol=1e-2, solver="midpoint")
    assert error(mixed, found.times, "midpoint") <= 1e-2


def test_a_jump_is_found_and_named() -> None:
    with pytest.raises(StepSizeError, match=r"the step size fell to .* at t = 0\.4"):
        adaptive_grid(end_point_flow("changing_subspace", 10), 0.0, 0.8, tol=1e-2, solver="rk4")


@pytest.mark.parametrize("solver", ["euler", "magnus4"])
def test_a_flow_without_a_limit_is_named(solver: str) -> None:
    growing = lambda t: velocity_operator(ScaledIdentity(1.3, 2, dtype=torch.float64), t)  # noqa: E731
    with pytest.raises(StepSizeError, match=r"(step size fell to .* at t = 0\.9999|after 2000 steps).*a core without a limit at t = 1 needs an earlier stop"):
        adaptive_grid(growing, tol=1e-3, solver=solver, max_steps=2000)
    with pytest.raises(NoTerminalLimitError, match="stop the grid earlier"):
        adaptive_grid(growing, 0.999, tol=10.0, solver="rk4")
    assert adaptive_grid(growing, 0.0, 0.99, tol=1e-3, solver="magnus4").error_bound <= 1e-3


def test_too_many_steps_and_what_cannot_be_reached_are_named() -> None:
    flow = smooth("dense", 0, 3.0)
    with pytest.raises(StepSizeError, match=r"after 50 steps, expected 1 in 50; .* raise tol \(here 0.0001\), take a solver of higher order"):
        adaptive_grid(flow, tol=1e-4, solver="euler", max_steps=50)
    with pytest.raises(StepSizeError, match="raise tol"):
        adaptive_grid(flow, tol=1e-17, solver="magnus4", max_steps=100)
    for start, stop, tol in ((0.5, 0.5, 1e-3), (0.0, 1.0, 0.0), (0.0, 1.0, float("nan"))):
        with pytest.raises(ConfigError, match="expected start < stop and tol > 0"):
            adaptive_grid(flow, start, stop, tol=tol)
    with pytest.raises(UnknownSolverError, match="dopri5"):
        adaptive_grid(flow, tol=1e-3, solver="dopri5")


def test_a_flow_that_one_step_solves_takes_no_rejections() -> None:
    mask = Mask(torch.tensor([True, False]), dtype=torch.float64)
    found = adaptive_grid(lambda t: velocity_operator(mask, t), tol=1e-9, solver="euler", stop=0.5)
    assert found.error_bound < 1e-9
    constant: LinearOperator = Dense(wave(0, 3)(0.0))
    found = adaptive_grid(lambda t: constant, tol=1e-9, solver="magnus4")
    assert (found.rejected, found.error_bound < 1e-12, len(found.times) < 15) == (0, True, True)


def test_the_flow_examples_are_met_too() -> None:
    for kind in ("low_rank", "singular_subspace", "sum"):
        flow = end_point_flow(kind, 10)
        found = adaptive_grid(flow, 0.0, 0.8, tol=1e-2, solver="rk4")
        assert error(flow, found.times, "rk4") <= found.error_bound <= 1e-2


@pytest.mark.parametrize("solver", ["euler", "rk4", "magnus4"])
def test_the_bound_counts_what_an_exact_factor_makes_of_errors(solver: str) -> None:
    rate = 4.0

    class Growing(Flow):
        """A rotation of varying speed, and growth that is left to the factor."""

        def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
            turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
            return [Dense(math.cos(9 * t) * turn) for t in times.tolist()]

        def factor(self, start: float, stop: float) -> LinearOperator:
            return ScaledIdentity(math.exp(rate * (stop - start)), 2, dtype=torch.float64)

    tol = 1.0 if solver == "euler" else 1e-3
    found = adaptive_grid(Growing(), tol=tol, solver=solver)
    angle = math.sin(9) / 9
    exact = math.exp(rate) * torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    difference = collapse(Growing(), found.times, solver).to_dense() - exact
    assert 1e-9 < float(torch.linalg.matrix_norm(difference, 2)) <= found.error_bound <= tol


@pytest.mark.parametrize("solver", ["rk4", "magnus4"])
def test_steps_that_overflow_are_rejected(solver: str) -> None:
    fast = Dense(torch.diag(torch.tensor([-1e5, -1.0], dtype=torch.float64)))
    for flow in (lambda t: fast, lambda t: LowRank(fast.matrix, torch.eye(2, dtype=torch.float64))):
        found = adaptive_grid(flow, 0.0, 1e-3, tol=1e-3, solver=solver)
        assert collapse(flow, found.times, solver).to_dense().diagonal().tolist() == pytest.approx([0.0, math.exp(-1e-3)], abs=1e-3)
