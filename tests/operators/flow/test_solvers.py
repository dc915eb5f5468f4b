from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from linearizer_core.errors import ConfigError, NoTerminalLimitError, UnknownSolverError
from linearizer_core.operators import Dense, Mask, ScaledIdentity
from linearizer_core.operators.flow import OPEN_SOLVERS, SOLVERS, collapse, integrate, time_grid, velocity_operator
from tests.operators.zoo import normal, relative_error, seeded, series_exponential

from .examples import end_point_flow, moving_frame

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "exponential_midpoint": 2, "magnus4": 4}


@pytest.mark.parametrize("solver", SOLVERS)
def test_order_of_convergence(solver: str) -> None:
    velocity, exact = moving_frame()
    coarse, fine = ((collapse(velocity, time_grid(steps, "last_step"), solver).to_dense() - exact).norm() for steps in (32, 64))
    assert SOLVERS[solver].order == ORDERS[solver]
    assert math.log2(float(coarse / fine)) == pytest.approx(ORDERS[solver], abs=0.2)


@pytest.mark.parametrize("solver", ["exponential_midpoint", "magnus4"])
def test_exponential_solvers_are_exact_for_constant_velocities_and_stay_orthogonal(solver: str) -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    assert relative_error(collapse(lambda t: Dense(turn), time_grid(1, "last_step"), solver).to_dense(), series_exponential(turn)) < 1e-14
    swirl = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 2.0], [0.0, -2.0, 0.0]], dtype=torch.float64)
    skew = swirl.roll((1, 1), (0, 1))
    result = collapse(lambda t: Dense(swirl * math.cos(t) + t * (skew - skew.T)), time_grid(5, "last_step"), solver).to_dense()
    assert relative_error(result @ result.T, torch.eye(3, dtype=torch.float64)) < 1e-13


def test_the_exponential_midpoint_is_the_exponential_of_the_velocity_at_the_middle() -> None:
    velocity, _ = moving_frame()
    expected = series_exponential(0.2 * velocity(0.4).to_dense())
    assert relative_error(collapse(velocity, torch.tensor([0.3, 0.5], dtype=torch.float64), "exponential_midpoint").to_dense(), expected) < 1e-14


def test_runge_kutta_stages_are_nested_unlike_the_published_ones() -> None:
    """The published collapse takes K2 = h L(t + h/2) without (I + K1/2), and so on: that is not the loop it claims to collapse (arXiv 2510.08570)."""
    flow, grid, z = end_point_flow("low_rank", 12), time_grid(20), normal(seeded(1), 5, 12)
    published = torch.eye(12, dtype=torch.float64)
    for start, stop in pairwise(grid.tolist()):
        h = stop - start
        k1, k23, k4 = (h * flow(start + node * h).to_dense() for node in (0.0, 0.5, 1.0))
        published = (torch.eye(12, dtype=torch.float64) + (k1 + 4 * k23 + k4) / 6) @ published
    loop = integrate(flow, z, grid, "rk4")
    assert relative_error(collapse(flow, grid, "rk4", rtol=1e-14)(z), loop) < 1e-12
    assert relative_error(z @ published.T, loop) > 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_step_is_what_the_textbook_says(solver: str) -> None:
    """Against formulas written out for one step from 0.2 to 0.5."""
    velocity, _ = moving_frame()
    h, one = 0.3, torch.eye(4, dtype=torch.float64)
    first, half, last = (velocity(t).to_dense() for t in (0.2, 0.35, 0.5))
    early, late = (velocity(0.35 + sign * h * math.sqrt(3) / 6).to_dense() for sign in (-1, 1))
    k2 = half @ (one + h / 2 * first)
    k3 = half @ (one + h / 2 * k2)
    k4 = last @ (one + h * k3)
    expected = {
        "euler": one + h * first,
        "midpoint": one + h * k2,
        "heun": one + h / 2 * (first + last @ (one + h * first)),
        "rk4": one + h / 6 * (first + 2 * k2 + 2 * k3 + k4),
        "exponential_midpoint": series_exponential(h * half),
        "magnus4": series_exponential(h / 2 * (early + late) + math.sqrt(3) / 12 * h**2 * (late @ early - early @ late)),
    }
    assert relative_error(collapse(velocity, torch.tensor([0.2, 0.5], dtype=torch.float64), solver).to_dense(), expected[solver]) < 1e-14


def test_the_nodes_of_a_step_are_its_ends_exactly() -> None:
    for solver in SOLVERS.values():
        for start, stop in ((0.1, 0.3), (0.9, 1.0), (0.7, 0.7000001)):
            times = solver.times(start, stop)
            assert all(start <= t <= stop for t in times)
            assert (times[0] == start) == (0.0 in solver.nodes)
            assert (times[-1] == stop) == solver.evaluates_end
    assert OPEN_SOLVERS == ("euler", "midpoint", "exponential_midpoint", "magnus4")


def test_the_end_point() -> None:
    with pytest.raises(NoTerminalLimitError, match=r"at t = 1\.0, expected t < 1; .* \(euler, midpoint, exponential_midpoint, magnus4\)"):
        velocity_operator(ScaledIdentity(1.0, 3), 1.0)
    mask = Mask(torch.tensor([True, False]), dtype=torch.float64)
    for solver in ("heun", "rk4"):
        with pytest.raises(NoTerminalLimitError):
            collapse(lambda t: velocity_operator(mask, t), time_grid(7, "last_step"), solver)
    exact = collapse(lambda t: velocity_operator(mask, t), time_grid(7, "last_step"), "euler")
    assert exact.to_dense().diagonal().tolist() == pytest.approx([1.0, 0.0], abs=1e-15)


def test_unknown_solvers_and_bad_grids_are_refused() -> None:
    flow = end_point_flow("diagonal", 4)
    with pytest.raises(UnknownSolverError, match="'rk5', expected one of: euler, midpoint, heun, rk4, exponential_midpoint, magnus4"):
        collapse(flow, time_grid(3), "rk5")
    with pytest.raises(UnknownSolverError):
        integrate(flow, torch.ones(4), time_grid(3), "rk5")
    for call in (lambda grid: collapse(flow, grid, "euler"), lambda grid: integrate(flow, torch.ones(4), grid, "euler")):
        with pytest.raises(ConfigError, match="at least two increasing times"):
            call(torch.tensor([0.0, 0.5, 0.5]))
