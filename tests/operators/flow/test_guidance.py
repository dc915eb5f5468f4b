from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import ConfigError, ShapeMismatchError
from linearizer_core.operators import LinearOperator, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, PointwiseFlow, SubspaceFlow, collapse, guided, integrate, time_grid
from tests.operators.zoo import normal, relative_error, seeded

from .examples import end_point_flow, wave

KINDS = ["dense", "low_rank", "shared_subspace", "diagonal"]


@settings(deadline=None, max_examples=30)
@given(first=st.sampled_from(KINDS), second=st.sampled_from(KINDS), weight=st.floats(-1, 3), solver=st.sampled_from(list(SOLVERS)), seed=st.integers(0, 1000))
def test_guidance_mixes_velocities_and_collapses_exactly(first: str, second: str, weight: float, solver: str, seed: int) -> None:
    dim, grid = 10, time_grid(6, "last_step", stop=0.7)
    one, other = (end_point_flow(kind, dim, seed=seed + index) for index, kind in enumerate((first, second)))
    mixed = guided(PointwiseFlow(one), PointwiseFlow(other), weight)
    found = mixed.velocities(torch.tensor([0.3], dtype=torch.float64))[0].to_dense()
    assert relative_error(found, (1 - weight) * one(0.3).to_dense() + weight * other(0.3).to_dense()) < 1e-12
    z = normal(seeded(seed), 3, dim)
    loop = integrate(mixed, z, grid, solver)
    assert relative_error(collapse(mixed, grid, solver, rtol=1e-15)(z), loop) < 1e-11

    def by_hand(t: float) -> LinearOperator:
        return one(t) + weight * (other(t) - one(t))

    assert relative_error(loop, integrate(by_hand, z, grid, solver)) < 1e-11


def test_the_ends_are_the_two_flows_and_the_middle_is_no_mixture_of_their_operators() -> None:
    flows = [PointwiseFlow(end_point_flow("low_rank", 10, seed=seed)) for seed in (0, 1)]
    operators = [collapse(flow, time_grid(10), "rk4").to_dense() for flow in flows]
    for weight, expected in zip((0.0, 1.0), operators, strict=True):
        assert relative_error(collapse(guided(*flows, weight), time_grid(10), "rk4").to_dense(), expected) < 1e-11
    assert relative_error(collapse(guided(*flows, 0.5), time_grid(10), "rk4").to_dense(), (operators[0] + operators[1]) / 2) > 1e-2


def inside(seed: int, left: torch.Tensor, right: torch.Tensor, *, regular: bool) -> SubspaceFlow:
    return SubspaceFlow(left, right, lambda times: torch.stack([wave(seed, 3)(t) for t in times.tolist()]), regular=regular)


@pytest.mark.parametrize("regular", [True, False])
def test_two_conditions_on_one_subspace_stay_in_it(regular: bool) -> None:
    left, right = (normal(seeded(seed), 9, 3) for seed in (0, 1))
    flows = [inside(seed, left, right, regular=regular) for seed in (2, 3)]
    mixed = guided(*flows, 2.0)
    assert isinstance(mixed, SubspaceFlow)
    grid, z = time_grid(12, "limit" if regular else "early"), normal(seeded(5), 3, 9)
    operator = collapse(mixed, grid, "magnus4")
    assert isinstance(operator, SharedSubspace)
    assert (operator.scale.item() == 0) == regular
    assert relative_error(operator(z), integrate(mixed, z, grid, "magnus4")) < 1e-11
    t = torch.tensor([0.4], dtype=torch.float64)
    first, second, found = (flow.velocities(t)[0].to_dense() for flow in (*flows, mixed))
    assert relative_error(found, 2 * second - first) < 1e-12


def test_what_is_refused() -> None:
    left, right = (normal(seeded(seed), 9, 3) for seed in (0, 1))
    regular = inside(2, left, right, regular=True)
    for other in (inside(3, right, left, regular=True), inside(3, left, right, regular=False), PointwiseFlow(end_point_flow("dense", 9))):
        with pytest.raises(ConfigError, match="expected two flows on one subspace, or two flows without such a factor"):
            guided(regular, other, 0.5)
    wrong = guided(PointwiseFlow(end_point_flow("dense", 9)), PointwiseFlow(end_point_flow("dense", 8)), 0.5)
    with pytest.raises(ShapeMismatchError):
        collapse(wrong, time_grid(3), "euler")
