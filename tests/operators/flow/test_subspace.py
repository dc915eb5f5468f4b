from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.errors import NoTerminalLimitError, SingularOperatorError
from linearizer_core.operators import LowRank, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, PointwiseFlow, SubspaceFlow, collapse, integrate, time_grid, velocity_operator
from tests.operators.zoo import normal, relative_error, seeded

from .examples import wave

DIM, RANK = 11, 3


def subspace_flow(seed: int = 0, *, regular: bool, dtype: torch.dtype = torch.float64, skew: float = 0.3) -> SubspaceFlow:
    g = seeded(seed)
    left = torch.linalg.qr(normal(g, DIM, RANK)).Q
    right = left + skew * normal(g, DIM, RANK) / DIM**0.5
    inner = wave(seed, RANK)
    return SubspaceFlow(left.to(dtype), right.to(dtype), lambda times: torch.stack([inner(t) for t in times.tolist()]).to(dtype), regular=regular)


def end_point(flow: SubspaceFlow, t: float) -> LowRank:
    """A_t = U (V^T U)^{-1} (I + (1 - t) K(t)) V^T, by its definition."""
    inside = torch.eye(RANK, dtype=torch.float64) + (1 - t) * flow.generator(torch.tensor([t], dtype=torch.float64))[0]
    return LowRank(flow.left @ torch.linalg.solve(flow.right.T @ flow.left, inside), flow.right)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), t=st.floats(0, 0.99))
def test_the_velocity_is_that_of_the_end_points_and_regular_on_the_subspace(seed: int, t: float) -> None:
    raw, regular = subspace_flow(seed, regular=False), subspace_flow(seed, regular=True)
    times = torch.tensor([t], dtype=torch.float64)
    assert relative_error(raw.velocities(times)[0].to_dense(), velocity_operator(end_point(raw, t), t).to_dense()) < 1e-9
    inside = regular.velocities(times)[0].to_dense()
    assert relative_error(regular.right.T @ inside, regular.generator(times)[0] @ regular.right.T) < 1e-11
    assert int(torch.linalg.matrix_rank(inside)) == RANK


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), solver=st.sampled_from(list(SOLVERS)), steps=st.integers(2, 40), regular=st.booleans(), skew=st.sampled_from([0.0, 0.3, 2.0]))
def test_collapse_is_the_loop_and_the_general_collapse(seed: int, solver: str, steps: int, regular: bool, skew: float) -> None:
    flow, z = subspace_flow(seed, regular=regular, skew=skew), normal(seeded(seed), 4, DIM)
    grid = time_grid(steps, "limit" if regular else "early")
    operator = collapse(flow, grid, solver)
    loop = integrate(flow, z, grid, solver)
    assert isinstance(operator, SharedSubspace)
    scale = float(torch.linalg.cond(flow.gram)) ** 2  # the loop multiplies by G what was divided by it
    assert relative_error(operator(z), loop) < 1e-13 * scale * max(1.0, float(z.norm() / loop.norm()))
    if not regular:
        general = collapse(PointwiseFlow(lambda t: velocity_operator(end_point(flow, t), t)), grid, solver, rtol=1e-15)
        assert relative_error(general.to_dense(), operator.to_dense()) < 1e-11 * scale


def test_the_rest_shrinks_exactly() -> None:
    for solver in SOLVERS:
        whole = collapse(subspace_flow(regular=True), time_grid(7, "limit"), solver)
        assert isinstance(whole, SharedSubspace)
        assert whole.scale.item() == 0
        assert whole.rank() == RANK
        part = collapse(subspace_flow(regular=True), time_grid(7, "limit", start=0.25, stop=0.75), solver)
        assert isinstance(part, SharedSubspace)
        assert part.scale.item() == pytest.approx(1 / 3, rel=1e-15)


def test_the_regular_form_is_the_limit_of_the_raw_one() -> None:
    grid = time_grid(400, "last_step", stop=0.9)
    for seed in range(3):
        for solver in ("rk4", "magnus4"):
            raw, regular = (collapse(subspace_flow(seed, regular=regular), grid, solver) for regular in (False, True))
            assert 0 < relative_error(raw.to_dense(), regular.to_dense()) < 1e-6


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_has_its_order_up_to_the_end(solver: str) -> None:
    flow = subspace_flow(5, regular=True)
    exact = collapse(flow, time_grid(600, "limit"), "magnus4").to_dense()
    coarse, fine = (relative_error(collapse(flow, time_grid(steps, "limit"), solver).to_dense(), exact) for steps in (20, 40))
    assert math.log2(coarse / fine) == pytest.approx(SOLVERS[solver].order, abs=0.4)


def test_the_raw_form_is_singular_at_the_end() -> None:
    for solver in ("heun", "rk4"):
        with pytest.raises(NoTerminalLimitError, match="or terminal 'limit' where the core offers it"):
            collapse(subspace_flow(regular=False), time_grid(5, "last_step"), solver)
        with pytest.raises(NoTerminalLimitError):
            integrate(subspace_flow(regular=False), torch.ones(DIM, dtype=torch.float64), time_grid(5, "last_step"), solver)


@pytest.mark.parametrize("terminal", ["early", "limit"])
def test_partial_propagators_of_one_model_share_its_subspace(terminal: str) -> None:
    regular = terminal == "limit"
    flow = subspace_flow(2, regular=regular)
    times = torch.tensor([0.0, 0.2, 0.5, 0.6, 0.9], dtype=torch.float64)
    again = SubspaceFlow(flow.left, flow.right, flow.generator, regular=regular)
    parts = collapse(again, times[2:], "rk4") @ collapse(flow, times[:3], "rk4")
    assert isinstance(parts, SharedSubspace)
    assert relative_error(parts.to_dense(), collapse(flow, times, "rk4").to_dense()) < 1e-12


def test_gradients_reach_everything_through_the_loop() -> None:
    left, right = (normal(seeded(seed), 6, 2).requires_grad_() for seed in (0, 1))
    inner = normal(seeded(2), 2, 2).requires_grad_()
    z = normal(seeded(3), 3, 6)

    for regular in (True, False):

        def loss(left: Tensor, right: Tensor, inner: Tensor, regular: bool = regular) -> Tensor:
            flow = SubspaceFlow(left, right, lambda times: times[:, None, None] * inner, regular=regular)
            return integrate(flow, z, time_grid(3, "limit" if regular else "early"), "rk4").square().sum()

        assert torch.autograd.gradcheck(loss, (left, right, inner), fast_mode=True)


def test_float32_models_are_composed_in_float64_on_their_own_tensors() -> None:
    narrow, wide = subspace_flow(1, regular=True, dtype=torch.float32), subspace_flow(1, regular=True)
    operator, expected = collapse(narrow, time_grid(100, "limit"), "magnus4"), collapse(wide, time_grid(100, "limit"), "magnus4")
    assert isinstance(operator, SharedSubspace)
    assert (operator.left.data_ptr(), operator.right.data_ptr()) == (narrow.left.data_ptr(), narrow.right.data_ptr())
    assert (operator.dtype, operator.left.dtype) == (torch.float64, torch.float32)
    z = normal(seeded(1), 4, DIM)
    assert relative_error(operator(z), expected(z)) < 3e-7
    assert relative_error(operator.to(torch.float32)(z.float()).double(), expected(z)) < 1e-6
    loop = integrate(narrow, z.float(), time_grid(100, "limit"), "rk4")
    assert loop.dtype == torch.float32
    assert relative_error(loop.double(), expected(z)) < 1e-5


def test_a_subspace_without_a_usable_gram_matrix_is_composed_in_twice_its_dimensions() -> None:
    """U and V almost orthogonal: solving with V^T U would cost all digits."""
    g = seeded(3)
    basis = torch.linalg.qr(normal(g, DIM, 2 * RANK)).Q
    left, right = basis[:, :RANK], basis[:, RANK:] + 1e-9 * basis[:, :RANK]
    inner = wave(0, RANK)
    flow = PointwiseFlow(lambda t: SharedSubspace(-t, left, inner(t), right))
    z = normal(g, 4, DIM)
    for solver in SOLVERS:
        operator = collapse(flow, time_grid(9), solver)
        assert isinstance(operator, SharedSubspace)
        assert relative_error(operator(z), integrate(flow, z, time_grid(9), solver)) < 1e-13


def test_a_singular_subspace_is_named() -> None:
    u = torch.eye(5, 2, dtype=torch.float64) * torch.tensor([1.0, 0.0], dtype=torch.float64)
    flow = SubspaceFlow(u, u, lambda times: torch.zeros(len(times), 2, 2, dtype=torch.float64), regular=True)
    with pytest.raises(SingularOperatorError, match="reciprocal condition number"):
        collapse(flow, time_grid(3, "limit"), "rk4")
    with pytest.raises(SingularOperatorError, match="reciprocal condition number"):
        integrate(flow, torch.ones(5, dtype=torch.float64), time_grid(3, "limit"), "rk4")


def test_velocities_of_a_float32_core_share_the_subspace_in_both_precisions() -> None:
    flow = subspace_flow(regular=False, dtype=torch.float32)
    first, second = flow.velocities(torch.tensor([0.2, 0.5], dtype=torch.float64))
    for dtype in (torch.float64, torch.float32):
        product = first.to(dtype) @ second.to(dtype)
        assert isinstance(product, SharedSubspace)
        assert product.dtype == dtype
        assert product.left is flow.left
