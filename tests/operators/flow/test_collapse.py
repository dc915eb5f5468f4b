from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Self

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.errors import DenseLimitError, DivergedFlowError
from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, ScaledIdentity, SharedSubspace, base
from linearizer_core.operators.base import Scalar
from linearizer_core.operators.flow import SOLVERS, collapse, integrate, time_grid, velocity_operator
from linearizer_core.operators.flow.steps import in_chunks
from tests.operators.zoo import normal, relative_error, seeded

from .examples import KINDS, VelocityAt, end_point_flow


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [2, 7, 20])
def test_collapse_is_the_loop(kind: str, solver: str, steps: int) -> None:
    dim, grid = 24, time_grid(steps)
    z = normal(seeded(1), 5, dim)
    flow = end_point_flow(kind, dim)
    operator = collapse(flow, grid, solver, rtol=1e-14)
    assert operator.dtype == torch.float64
    assert relative_error(operator(z), integrate(flow, z, grid, solver)) < 1e-12
    narrow = end_point_flow(kind, dim, torch.float32)
    loop = integrate(narrow, z.float(), grid, solver)
    assert loop.dtype == torch.float32
    composed = collapse(narrow, grid, solver, rtol=1e-14)
    assert composed.dtype == torch.float64
    assert relative_error(composed(z), loop.double()) < 1e-5
    assert relative_error(composed(z), integrate(lambda t: narrow(t).to(torch.float64), z, grid, solver)) < 1e-10


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from(KINDS), solver=st.sampled_from(list(SOLVERS)), seed=st.integers(0, 10_000), dim=st.integers(5, 20),
    times=st.lists(st.floats(0, 0.95), min_size=2, max_size=12, unique_by=lambda t: round(t, 3)),
)  # fmt: skip
def test_collapse_is_the_loop_on_any_grid(kind: str, solver: str, seed: int, dim: int, times: list[float]) -> None:
    flow, grid, z = end_point_flow(kind, dim, seed=seed), torch.tensor(sorted(times), dtype=torch.float64), normal(seeded(seed + 1), 3, dim)
    assert relative_error(collapse(flow, grid, solver, rtol=1e-14)(z), integrate(flow, z, grid, solver)) < 1e-11


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("solver", ["heun", "rk4", "magnus4"])
def test_chunks_do_not_matter(kind: str, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, grid, z = end_point_flow(kind, 24), time_grid(23), normal(seeded(1), 5, 24)
    whole, loop = collapse(flow, grid, solver, rtol=1e-14).to_dense(), integrate(flow, z, grid, solver)
    for size in (1, 20_000):
        monkeypatch.setattr("linearizer_core.operators.flow.steps.CHUNK_BYTES", size)
        assert relative_error(collapse(flow, grid, solver, rtol=1e-14).to_dense(), whole) < 1e-12
        assert torch.equal(integrate(flow, z, grid, solver), loop)


def test_steps_come_in_chunks_with_every_time_once() -> None:
    chunks = list(in_chunks(SOLVERS["rk4"], time_grid(8).tolist(), 3))
    assert [len(chunk.ends) for chunk in chunks] == [3, 3, 1]
    assert [len(chunk.times) for chunk in chunks] == [7, 7, 3]
    for chunk in chunks:
        for (start, stop), nodes in zip(chunk.ends, chunk.times[chunk.index].T.tolist(), strict=True):
            assert nodes == [start, start + 0.5 * (stop - start), stop]


@pytest.mark.parametrize("kind", KINDS)
def test_partial_propagators_compose(kind: str) -> None:
    flow = end_point_flow(kind, 16)
    joined = torch.tensor([0.1, 0.2, 0.35, 0.5, 0.8, 0.9], dtype=torch.float64)
    for solver in SOLVERS:
        whole = collapse(flow, joined, solver, rtol=1e-14)
        parts = collapse(flow, joined[3:], solver, rtol=1e-14) @ collapse(flow, joined[:4], solver, rtol=1e-14)
        assert relative_error(parts.to_dense(), whole.to_dense()) < 1e-12
        if kind in ("shared_subspace", "diagonal", "scaled_identity"):
            assert parts.kind == whole.kind == ("scaled_identity" if kind == "scaled_identity" else kind)


def test_kinds_of_propagators() -> None:
    grid = time_grid(10)
    kinds = {kind: collapse(end_point_flow(kind, 64), grid, "rk4").kind for kind in KINDS}
    assert kinds == {
        "dense": "dense",
        "low_rank": "identity_plus_low_rank",
        "identity_plus_low_rank": "identity_plus_low_rank",
        "shared_subspace": "shared_subspace",
        "singular_subspace": "shared_subspace",
        "changing_subspace": "identity_plus_low_rank",
        "diagonal": "diagonal",
        "mask": "diagonal",
        "scaled_identity": "scaled_identity",
        "sum": "dense",
        "changing_kind": "dense",
    }
    low_rank = collapse(end_point_flow("low_rank", 64), grid, "rk4")
    assert isinstance(low_rank, IdentityPlusLowRank)
    assert low_rank.columns < 32
    assert collapse(end_point_flow("low_rank", 6), grid, "rk4").kind == "dense"


@pytest.mark.parametrize("kind", ["low_rank", "shared_subspace"])
@pytest.mark.parametrize("steps", [5, 40])
def test_off_the_subspace_the_factor_is_one_over_the_steps(kind: str, steps: int) -> None:
    flow = end_point_flow("low_rank", 64)
    if kind == "shared_subspace":
        u = torch.eye(64, 3, dtype=torch.float64)
        flow = lambda t: velocity_operator(SharedSubspace(0.0, u, math.cos(t) * torch.ones(3, 3, dtype=torch.float64), u), t)  # noqa: E731
    operator = collapse(flow, time_grid(steps), "euler")
    assert isinstance(operator, IdentityPlusLowRank | SharedSubspace)
    assert float(operator.scale) == pytest.approx(1 / steps, rel=1e-12)


def drifting(dim: int, dtype: torch.dtype = torch.float64) -> VelocityAt:
    """Per-step low rank whose factors turn through so many directions that the rank grows with the number of steps, with decaying singular values."""
    g = seeded(5)
    left, right = (torch.linalg.qr(normal(g, dim, 40)).Q for _ in range(2))
    waves = torch.arange(20, dtype=torch.float64)

    def at(t: float) -> LinearOperator:
        shape = 0.6**waves * torch.cos(waves * t + 1)
        return LowRank(
            torch.stack([left[:, :20] @ shape, left[:, 20:] @ shape], dim=1).to(dtype), torch.stack([right[:, :20] @ shape, right[:, 20:] @ shape], 1).to(dtype)
        )

    return lambda t: velocity_operator(at(t), t)


@pytest.mark.parametrize("solver", ["euler", "rk4", "magnus4"])
def test_the_tolerance_bounds_the_error_and_sets_the_rank(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most (number of compressions) times rtol times the norm; and each looser tolerance gives a smaller rank."""
    compressions = []
    cut = __import__("linearizer_core.operators.flow.windows", fromlist=["cut"]).cut
    monkeypatch.setattr("linearizer_core.operators.flow.windows.cut", lambda *arguments: compressions.append(1) or cut(*arguments))
    flow, grid = drifting(120), time_grid(64)
    exact = integrate(flow, torch.eye(120, dtype=torch.float64), grid, solver).T
    ranks, errors = [], []
    for rtol in (1e-3, 1e-5, 1e-7, 1e-9):
        compressions.clear()
        operator = collapse(flow, grid, solver, rtol=rtol)
        assert isinstance(operator, IdentityPlusLowRank)
        errors.append(float(torch.linalg.matrix_norm(operator.to_dense() - exact, 2) / torch.linalg.matrix_norm(exact, 2)))
        assert errors[-1] < len(compressions) * rtol
        ranks.append(operator.columns)
    assert ranks == sorted(ranks)
    assert ranks[0] < ranks[-1] <= 40
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 1e-5


def test_the_default_tolerance_follows_the_dtype_of_the_velocities() -> None:
    z, grid = normal(seeded(1), 5, 120), time_grid(50)
    operator = collapse(drifting(120), grid, "rk4")
    assert relative_error(operator(z), integrate(drifting(120), z, grid, "rk4")) < 1e-10
    narrow = collapse(drifting(120, torch.float32), grid, "rk4")
    assert isinstance(narrow, IdentityPlusLowRank)
    assert isinstance(operator, IdentityPlusLowRank)
    assert narrow.columns < operator.columns
    assert relative_error(narrow(z), operator(z)) < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_composition_in_float32(kind: str) -> None:
    flow, grid, z = end_point_flow(kind, 64), time_grid(100), normal(seeded(1), 5, 64)
    operator = collapse(flow, grid, "rk4", dtype=torch.float32)
    assert operator.dtype == torch.float32
    assert relative_error(operator(z), integrate(flow, z, grid, "rk4")) < 1e-5


@pytest.mark.parametrize("columns", [1, 5, 10_000])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_size_of_windows_does_not_matter(columns: int, solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linearizer_core.operators.flow.windows.WINDOW_COLUMNS", columns)
    flow, grid, z = end_point_flow("low_rank", 40), time_grid(11), normal(seeded(1), 5, 40)
    assert relative_error(collapse(flow, grid, solver, rtol=1e-14)(z), integrate(flow, z, grid, solver)) < 1e-12


def test_unstructured_flows_stop_at_the_dense_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "DENSE_LIMIT", 8)
    with pytest.raises(DenseLimitError):
        collapse(end_point_flow("sum", 12), time_grid(3), "euler")
    full = collapse(drifting(40), time_grid(20), "rk4")
    assert isinstance(full, IdentityPlusLowRank)
    assert full.columns > 20
    monkeypatch.setattr(base, "DENSE_LIMIT", 40)
    assert isinstance(collapse(drifting(40), time_grid(20), "rk4"), Dense)


def test_what_is_not_a_number_is_not_cut_away() -> None:
    u = torch.ones(6, 1, dtype=torch.float64)
    broken = IdentityPlusLowRank(-1.0, u, torch.nan * u)
    with pytest.raises(DivergedFlowError, match="non-finite"):
        collapse(lambda t: broken, time_grid(3), "euler")


def test_the_result_of_a_shared_subspace_holds_the_tensors_of_the_flow() -> None:
    u = torch.eye(50, 2)
    for dtype in (torch.float64, torch.float32):
        operator = collapse(lambda t: SharedSubspace(-1.0, u, t * torch.eye(2), u), time_grid(5), "rk4", dtype=dtype)
        assert isinstance(operator, SharedSubspace)
        assert operator.dtype == dtype
        assert operator.left.dtype == torch.float32
        assert operator.left.data_ptr() == operator.right.data_ptr() == u.data_ptr()
        assert operator(torch.ones(50, dtype=torch.float64)).dtype == torch.float64


class Circulant(LinearOperator):
    """A kind of a third party, closed under its own products: the cyclic convolution with ``kernel``."""

    kind: ClassVar[str] = "circulant"
    fields: ClassVar[tuple[str, ...]] = ("kernel",)

    def __init__(self, kernel: Tensor) -> None:
        self.kernel = kernel

    shape = property(lambda self: (len(self.kernel), len(self.kernel)))
    dtype = property(lambda self: self.kernel.dtype)
    device = property(lambda self: self.kernel.device)
    T = property(lambda self: Circulant(self.kernel.flip(0).roll(1)))

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        return cls(**tensors)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(function(self.kernel))

    def _apply(self, z: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(self.kernel) * torch.fft.rfft(z), n=len(self.kernel))

    def _scale(self, factor: Scalar) -> LinearOperator:
        return Circulant(self.kernel * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        return Circulant(self._apply(other.kernel)) if isinstance(other, Circulant) else None

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Circulant):
            return Circulant(self.kernel + other.kernel)
        unit = torch.zeros_like(self.kernel).index_fill(0, torch.tensor(0), 1)
        return Circulant(self.kernel + other.scale * unit) if isinstance(other, ScaledIdentity) else None


def test_a_kind_of_a_third_party_keeps_its_structure() -> None:
    kernel = normal(seeded(3), 32) / 32
    flow = lambda t: Circulant(math.cos(t) * kernel)  # noqa: E731
    z = normal(seeded(1), 5, 32)
    for solver in ("euler", "rk4"):
        operator = collapse(flow, time_grid(9), solver)
        assert isinstance(operator, Circulant)
        assert relative_error(operator(z), integrate(flow, z, time_grid(9), solver)) < 1e-13
    assert relative_error(collapse(flow, time_grid(9), "magnus4")(z), collapse(flow, time_grid(9), "rk4")(z)) < 1e-6


def test_the_collapse_has_no_gradient() -> None:
    core = torch.full((2, 2), 0.1, dtype=torch.float64, requires_grad=True)
    u = torch.eye(5, 2, dtype=torch.float64, requires_grad=True)
    for flow in (lambda t: SharedSubspace(-1.0, u, core, u), lambda t: IdentityPlusLowRank(-1.0, u @ core, u), lambda t: Dense(u @ core @ u.T)):
        assert not collapse(flow, time_grid(4), "rk4").to_dense().requires_grad


def test_diagonal_flows_have_their_closed_form() -> None:
    rates = torch.tensor([-1.0, -2.0, 0.5], dtype=torch.float64)
    found = collapse(lambda t: Diagonal(2 * t * rates), time_grid(10, "last_step"), "magnus4")
    assert isinstance(found, Diagonal)
    assert relative_error(found.values, rates.exp()) < 1e-14


@pytest.mark.parametrize("solver", SOLVERS)
def test_flows_of_rank_zero(solver: str) -> None:
    nothing = torch.empty(5, 0, dtype=torch.float64)
    empty = torch.empty(0, 0, dtype=torch.float64)
    for velocity in (IdentityPlusLowRank(-1.0, nothing, nothing), SharedSubspace(-1.0, nothing, empty, nothing)):
        operator = collapse(lambda t, velocity=velocity: velocity, time_grid(6, "last_step"), solver)
        assert relative_error(operator.to_dense(), math.exp(-1) * torch.eye(5, dtype=torch.float64)) < 0.1
    assert relative_error(collapse(lambda t: LowRank(nothing, nothing), time_grid(3), solver).to_dense(), torch.eye(5, dtype=torch.float64)) < 1e-14
