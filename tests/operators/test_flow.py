from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from linearizer_core.errors import ConfigError, DenseLimitError, NoTerminalLimitError, UnknownSolverError
from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace, base
from linearizer_core.operators.flow import SOLVERS, collapse, integrate, uniform_grid, velocity_operator

from .zoo import normal, relative_error, seeded, series_exponential

Flow = Callable[[float], LinearOperator]


def end_point_flow(kind: str, dim: int, dtype: torch.dtype = torch.float64) -> Flow:
    """The velocity of a smooth family A_t of the given kind."""
    g = seeded(0)
    left, other_left, right = (torch.linalg.qr(normal(g, dim, 2)).Q.to(dtype) for _ in range(3))
    core, other_core = normal(g, 2, 2, dtype=dtype) / 3, normal(g, 2, 2, dtype=dtype) / 3
    matrix, other_matrix = normal(g, dim, dim, dtype=dtype) / dim, normal(g, dim, dim, dtype=dtype) / dim

    def at(t: float) -> LinearOperator:
        match kind:
            case "dense":
                return Dense(math.cos(t) * matrix + math.sin(2 * t) * other_matrix)
            case "low_rank":
                return LowRank(math.cos(t) * left + math.sin(t) * other_left, math.cos(t) * right + math.sin(2 * t) * left)
            case "identity_plus_low_rank":
                return IdentityPlusLowRank(0.2 * t, math.cos(t) * left + math.sin(t) * other_left, right)
            case "shared_subspace":
                return SharedSubspace(0.3 * t, left, math.cos(t) * core + math.sin(3 * t) * other_core, right)
            case "diagonal":
                return Diagonal(torch.linspace(0, 1, dim, dtype=dtype) * t)
            case "mask":
                return Mask(torch.arange(dim) < 2, dtype=dtype)
            case _:
                return Diagonal(torch.linspace(0, 1, dim, dtype=dtype) * t) + LowRank(math.cos(t) * left, right)

    return lambda t: velocity_operator(at(t), t)


@pytest.mark.parametrize("kind", ["dense", "low_rank", "identity_plus_low_rank", "shared_subspace", "diagonal", "mask", "sum"])
@pytest.mark.parametrize("solver", sorted(SOLVERS))
@pytest.mark.parametrize("steps", [2, 7, 20])
def test_collapse_is_the_loop(kind: str, solver: str, steps: int) -> None:
    dim, grid = 24, uniform_grid(steps)
    z = normal(seeded(1), 5, dim)
    flow = end_point_flow(kind, dim)
    operator = collapse(flow, grid, solver, rtol=1e-14)
    assert operator.dtype == torch.float64
    assert relative_error(operator(z), integrate(flow, z, grid, solver)) < 1e-12
    narrow = end_point_flow(kind, dim, torch.float32)
    loop = integrate(narrow, z.float(), grid, solver)
    assert loop.dtype == torch.float32
    composed = collapse(narrow, grid, solver)
    assert composed.dtype == torch.float64
    assert relative_error(composed(z), loop.double()) < 1e-5
    assert relative_error(composed(z), integrate(lambda t: narrow(t).to(torch.float64), z, grid, solver)) < 1e-10


def test_kinds_of_propagators() -> None:
    grid = uniform_grid(10)
    kinds = {kind: collapse(end_point_flow(kind, 64), grid, "rk4").kind for kind in ("dense", "shared_subspace", "diagonal", "sum")}
    assert kinds == {"dense": "dense", "shared_subspace": "shared_subspace", "diagonal": "diagonal", "sum": "dense"}
    low_rank = collapse(end_point_flow("low_rank", 64), grid, "rk4")
    assert isinstance(low_rank, IdentityPlusLowRank)
    assert low_rank.columns < 32
    assert collapse(end_point_flow("low_rank", 6), grid, "rk4").kind == "dense"


@pytest.mark.parametrize("solver", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("steps", [5, 40])
def test_off_the_subspace_the_factor_is_one_over_the_steps(solver: str, steps: int) -> None:
    operator = collapse(end_point_flow("low_rank", 64), uniform_grid(steps), "euler")
    assert isinstance(operator, IdentityPlusLowRank)
    assert float(operator.scale) == pytest.approx(1 / steps, rel=1e-12)


def test_the_default_tolerance_keeps_twelve_digits_relative_to_the_low_rank_part() -> None:
    flow, grid, z = end_point_flow("low_rank", 200), uniform_grid(50), normal(seeded(1), 5, 200)
    operator = collapse(flow, grid, "rk4")
    assert isinstance(operator, IdentityPlusLowRank)
    assert relative_error(operator(z), integrate(flow, z, grid, "rk4")) < 1e-10


def moving_frame(dtype: torch.dtype = torch.float64) -> tuple[Flow, Tensor]:
    """L = X + e^{tX} Y e^{-tX}, whose propagator from 0 to 1 is exactly e^X e^Y; X and Y do not commute."""
    g = seeded(2)
    x, y = normal(g, 4, 4) / 2, normal(g, 4, 4) / 2

    def velocity(t: float) -> LinearOperator:
        return Dense(x + series_exponential(t * x) @ y @ series_exponential(-t * x))

    return velocity, series_exponential(x) @ series_exponential(y)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4), ("magnus4", 4)])
def test_order_of_convergence(solver: str, order: int) -> None:
    velocity, exact = moving_frame()
    coarse, fine = ((collapse(velocity, uniform_grid(steps, stop=1.0), solver).to_dense() - exact).norm() for steps in (32, 64))
    assert SOLVERS[solver].order == order
    assert math.log2(float(coarse / fine)) == pytest.approx(order, abs=0.2)


def test_magnus_is_exact_for_constant_velocities_and_stays_orthogonal() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    assert relative_error(collapse(lambda t: Dense(turn), uniform_grid(1, stop=1.0), "magnus4").to_dense(), series_exponential(turn)) < 1e-14
    swirl = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 2.0], [0.0, -2.0, 0.0]], dtype=torch.float64)
    skew = swirl.roll((1, 1), (0, 1))
    result = collapse(lambda t: Dense(swirl * math.cos(t) + t * (skew - skew.T)), uniform_grid(5, stop=1.0), "magnus4").to_dense()
    assert relative_error(result @ result.T, torch.eye(3, dtype=torch.float64)) < 1e-13


def test_runge_kutta_stages_are_nested_unlike_the_published_ones() -> None:
    """The published collapse takes K2 = h L(t + h/2) without (I + K1/2), and so on: that is not the loop it claims to collapse (arXiv 2510.08570)."""
    flow, grid, z = end_point_flow("low_rank", 12), uniform_grid(20), normal(seeded(1), 5, 12)
    published = torch.eye(12, dtype=torch.float64)
    for start, stop in pairwise(grid.tolist()):
        h = stop - start
        k1, k23, k4 = (h * flow(start + node * h).to_dense() for node in (0.0, 0.5, 1.0))
        published = (torch.eye(12, dtype=torch.float64) + (k1 + 4 * k23 + k4) / 6) @ published
    loop = integrate(flow, z, grid, "rk4")
    assert relative_error(collapse(flow, grid, "rk4", rtol=1e-14)(z), loop) < 1e-12
    assert relative_error(z @ published.T, loop) > 1e-3


class Watch(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns, and counts the operations on tensors of at least ``large`` elements."""

    def __init__(self, large: int = 10**9) -> None:
        super().__init__()
        self.elements, self.large, self.large_operations = 0, large, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.large_operations += any(isinstance(value, Tensor) and value.numel() >= self.large for value in args)
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.numel())
        return out


@pytest.mark.parametrize("solver", sorted(SOLVERS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_shared_subspace_is_collapsed_without_large_tensors(solver: str, dtype: torch.dtype) -> None:
    dim = 20_000
    flow = end_point_flow("shared_subspace", 64)
    u = torch.ones(dim, 2, dtype=dtype) / dim**0.5
    u[::2, 1] *= -1
    cores = torch.randn(2, 2, 2, generator=seeded(0), dtype=torch.float64).to(dtype)

    def large(t: float) -> LinearOperator:
        return velocity_operator(SharedSubspace(0.0, u, cores[0] + t * cores[1], u), t)

    with Watch() as watch:
        operator = collapse(large, uniform_grid(6), solver)
    assert isinstance(operator, SharedSubspace)
    assert 0 < watch.elements < dim * dim / 100
    assert watch.elements <= 2 * dim
    z = u.double().T
    assert relative_error(operator(z), integrate(lambda t: large(t).to(torch.float64), z, uniform_grid(6), solver)) < 1e-6
    with Watch() as watch:
        collapse(flow, uniform_grid(5), solver).to_dense()
    assert watch.elements == 64 * 64


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_the_work_on_large_tensors_does_not_grow_with_the_steps(solver: str) -> None:
    left, right = torch.ones(500, 2), torch.eye(500, 2)
    counts = []
    for steps in (4, 8):
        with Watch(large=500) as watch:
            collapse(lambda t: SharedSubspace(-1.0, left, t * torch.eye(2) / 500, right), uniform_grid(steps), solver)
        counts.append(watch.large_operations)
    assert counts[0] == counts[1] < 10


def test_gradients_flow_through_the_loop() -> None:
    core = torch.full((2, 2), 0.1, dtype=torch.float64, requires_grad=True)
    u = torch.eye(5, 2, dtype=torch.float64)
    z = integrate(lambda t: SharedSubspace(-1.0, u, core, u), torch.ones(3, 5, dtype=torch.float64), uniform_grid(4), "rk4")
    (gradient,) = torch.autograd.grad(z.square().sum(), core)
    assert float(gradient.abs().min()) > 0
    assert not collapse(lambda t: SharedSubspace(-1.0, u, core, u), uniform_grid(4), "rk4").to_dense().requires_grad


def test_unstructured_flows_stop_at_the_dense_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DENSE_LIMIT", 8)
    with pytest.raises(DenseLimitError):
        collapse(end_point_flow("sum", 12), uniform_grid(3), "euler")
    assert isinstance(collapse(end_point_flow("low_rank", 12), uniform_grid(20), "rk4"), IdentityPlusLowRank)


def test_the_end_point() -> None:
    identity = ScaledIdentity(1.0, 3)
    with pytest.raises(NoTerminalLimitError, match=r"at t = 1\.0, expected t < 1"):
        velocity_operator(identity, 1.0)
    for solver in ("heun", "rk4"):
        with pytest.raises(NoTerminalLimitError):
            collapse(lambda t: velocity_operator(Mask(torch.tensor([True, False])), t), uniform_grid(7, stop=1.0), solver)
    exact = collapse(lambda t: velocity_operator(Mask(torch.tensor([True, False]), dtype=torch.float64), t), uniform_grid(7, stop=1.0), "euler")
    assert exact.to_dense().diagonal().tolist() == pytest.approx([1.0, 0.0], abs=1e-15)


def test_grids() -> None:
    assert uniform_grid(100).dtype == torch.float64
    assert (len(uniform_grid(100)), float(uniform_grid(100)[-1])) == (100, 0.99)
    assert (len(uniform_grid(3, stop=0.5)), float(uniform_grid(3, stop=0.5)[-1])) == (4, 0.5)
    assert float(uniform_grid(1000, stop=1.0)[-1]) == 1.0
    for arguments in ((1, None), (0, 1.0), (3, 1.5), (3, 0.0)):
        with pytest.raises(ConfigError, match="expected"):
            uniform_grid(*arguments)


def test_unknown_solvers_and_bad_grids_are_refused() -> None:
    flow = end_point_flow("diagonal", 4)
    with pytest.raises(UnknownSolverError, match="'rk5', expected one of: euler, midpoint, heun, rk4, magnus4"):
        collapse(flow, uniform_grid(3), "rk5")
    with pytest.raises(UnknownSolverError):
        integrate(flow, torch.ones(4), uniform_grid(3), "rk5")
    for grid in (torch.tensor([0.0]), torch.tensor([0.0, 0.5, 0.5]), torch.zeros(2, 2)):
        with pytest.raises(ConfigError, match="at least two increasing times"):
            collapse(flow, grid, "euler")
