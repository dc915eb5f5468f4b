from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.core_operator import CoreOperator, TimeDependentCore
from linearizer_core.errors import ConditionError, ConfigError, DataError, NoTerminalLimitError, NotInitializedError, ShapeMismatchError, UnknownSolverError
from linearizer_core.operators import Dense, Diagonal, LinearOperator, LowRank, Mask, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, collapse, integrate, uniform_grid, velocity_operator
from linearizer_operators import hooks
from linearizer_operators.config import GaussianConfig, LowRankConfig, ProjectorConfig, SharedSubspaceConfig
from linearizer_operators.gaussian import GaussianCore
from linearizer_operators.low_rank import LowRankCore
from linearizer_operators.projector import ProjectorCore
from linearizer_operators.shared_subspace import SharedSubspaceCore

DIM, RANK = 12, 3


def latents(seed: int = 0, count: int = 400, dim: int = DIM) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=g, dtype=torch.float64)
    return torch.randn(count, dim, generator=g, dtype=torch.float64) @ mixing / dim**0.5 + 0.3


def shaken(core: TimeDependentCore) -> TimeDependentCore:
    """Every parameter moved away from its start, where K = 0 and U = V."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in core.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=g).to(parameter))
    return core


def gaussian(basis: str, dtype: torch.dtype = torch.float64) -> GaussianCore:
    core = GaussianCore((DIM, DIM), GaussianConfig.model_validate({"rank": RANK, "basis": basis})).to(dtype)
    if basis == "principal":
        core.fit(latents())
    return core


MAKERS: dict[str, Callable[[torch.dtype], TimeDependentCore]] = {
    "leading": lambda dtype: gaussian("leading", dtype),
    "principal": lambda dtype: gaussian("principal", dtype),
    "low_rank": lambda dtype: shaken(LowRankCore((DIM, DIM), LowRankConfig(rank=RANK, width=16)).to(dtype)),
    "shared_subspace": lambda dtype: shaken(SharedSubspaceCore((DIM, DIM), SharedSubspaceConfig(rank=RANK, width=16)).to(dtype)),
}
CASES = [(name, solver) for name in MAKERS for solver in (*SOLVERS, *(["exact"] if name in ("leading", "principal") else []))]


def make(name: str, dtype: torch.dtype = torch.float64) -> TimeDependentCore:
    torch.manual_seed(0)
    return MAKERS[name](dtype)


def distance(found: Tensor, expected: Tensor) -> float:
    return (found - expected).norm().item() / expected.norm().item()


@pytest.mark.parametrize("name", sorted(MAKERS))
@settings(deadline=None, max_examples=10)
@given(times=st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_apply_and_at_agree(name: str, times: list[float]) -> None:
    core, t = make(name), torch.tensor(times, dtype=torch.float64)
    z = torch.randn(len(times), DIM, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = core.predict(z, t).detach()
    for row, time in enumerate(times):
        assert float((found[row] - core.at(time)(z[row]).detach()).abs().max()) < 1e-12
        operator = core.operator(Condition(time=torch.tensor([time], dtype=torch.float64)))
        assert torch.equal(operator(z), core.at(time)(z))


@pytest.mark.parametrize(("name", "solver"), CASES)
@pytest.mark.parametrize("steps", [3, 20])
def test_collapse_is_the_loop(name: str, solver: str, steps: int) -> None:
    grid, z = uniform_grid(steps), torch.randn(4, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    core = make(name)
    operator = core.propagator(grid, solver, rtol=1e-14)
    assert operator.dtype == torch.float64
    assert distance(operator(z), core.integrate(z, grid, solver)) < 1e-12
    narrow = make(name, torch.float32)
    loop = narrow.integrate(z.float(), grid, solver)
    assert loop.dtype == torch.float32
    assert distance(narrow.propagator(grid, solver)(z), loop.double()) < 1e-5


@pytest.mark.parametrize("name", ["low_rank", "shared_subspace"])
def test_gradients_reach_all_parameters(name: str) -> None:
    core, z = make(name), torch.randn(6, DIM, dtype=torch.float64)
    routes: list[Callable[[], Tensor]] = [lambda: core.predict(z, torch.linspace(0, 0.9, 6, dtype=torch.float64)), lambda: core.at(0.4)(z)]
    routes.append(lambda: core.integrate(z, uniform_grid(4), "magnus4"))
    for route in routes:
        core.zero_grad()
        route().square().sum().backward()
        for parameter_name, parameter in core.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert float(parameter.grad.abs().max()) > 0, parameter_name


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_saving_and_loading_keeps_the_core(name: str) -> None:
    core = make(name)
    torch.manual_seed(5)
    again = type(core)((DIM, DIM), _config_of(name)).double()  # type: ignore[call-arg, arg-type]
    again.load_state_dict(core.state_dict())
    assert torch.equal(again.at(0.3).to_dense(), core.at(0.3).to_dense())


def _config_of(name: str) -> object:
    return {
        "leading": GaussianConfig(rank=RANK),
        "principal": GaussianConfig(rank=RANK, basis="principal"),
        "low_rank": LowRankConfig(rank=RANK, width=16),
        "shared_subspace": SharedSubspaceConfig(rank=RANK, width=16),
    }[name]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_what_the_cores_refuse(name: str) -> None:
    core = make(name)
    with pytest.raises(UnknownSolverError, match="it offers: euler"):
        core.propagator(uniform_grid(4), "dopri5")
    with pytest.raises(UnknownSolverError):
        core.integrate(torch.ones(2, DIM, dtype=torch.float64), uniform_grid(4), "dopri5")
    with pytest.raises(ConditionError):
        core.operator()
    with pytest.raises(ShapeMismatchError):
        core.predict(torch.ones(2, DIM, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    for shape in ((DIM, DIM + 1), (2, 2)):
        with pytest.raises(ShapeMismatchError, match=r"expected \(D, D\) with D >= 3"):
            type(core)(shape, _config_of(name))  # type: ignore[call-arg, arg-type]


# --- gaussian ------------------------------------------------------------------------------------


def second_moment(core: GaussianCore) -> Tensor:
    basis = core.basis if core.leading_rank is None else torch.eye(DIM, RANK, dtype=torch.float64)
    eye = torch.eye(DIM, dtype=torch.float64)
    return basis @ torch.diag(core.variance) @ basis.T + core.tail_variance * (eye - basis @ basis.T)


@pytest.mark.parametrize("basis", ["leading", "principal"])
@pytest.mark.parametrize("t", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_gaussian_satisfies_the_normal_equations(basis: str, t: float) -> None:
    """The minimiser of E|A z_t - z_1|^2 solves A E[z_t z_t^T] = E[z_1 z_t^T], here A (t^2 S1 + (1-t)^2 I) = t S1."""
    core = gaussian(basis)
    moment = second_moment(core)
    residual = core.at(t).to_dense() @ (t**2 * moment + (1 - t) ** 2 * torch.eye(DIM, dtype=torch.float64)) - t * moment
    assert float(residual.abs().max()) < 1e-12


def test_gaussian_is_no_worse_than_any_perturbation_on_samples() -> None:
    data, t = latents(count=4000), 0.6
    core = GaussianCore((DIM, DIM), GaussianConfig(rank=DIM, basis="principal")).double()
    core.fit(data)
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    point = (1 - t) * noise + t * data
    fitted = torch.linalg.lstsq(point, data).solution.T
    best = float((point @ fitted.T - data).square().sum())
    assert float((core.at(t)(point) - data).square().sum()) < 1.01 * best


def test_gaussian_fit_finds_the_leading_moments() -> None:
    for count in (400, 8):
        data = latents(count=count)
        core = GaussianCore((DIM, DIM), GaussianConfig(rank=RANK, basis="principal")).double()
        core.fit(data)
        values = torch.linalg.eigvalsh(data.T @ data / count).flip(0)
        assert torch.allclose(core.variance, values[:RANK])
        assert float(core.tail_variance) == pytest.approx(float(values[RANK:].clamp(min=0).mean()))
        assert distance(core.basis.T @ core.basis, torch.eye(RANK, dtype=torch.float64)) < 1e-12
        assert distance(data.T @ (data @ core.basis) / count, core.basis * core.variance) < 1e-10


def test_gaussian_fit_refuses() -> None:
    with pytest.raises(ConfigError, match="basis is 'leading'"):
        gaussian("leading").fit(latents())
    for bad in (latents(count=2), latents(dim=5), latents() / 0):
        with pytest.raises(DataError, match="at least 3 finite rows of 12"):
            gaussian("principal").fit(bad)


def test_the_exact_flow_of_whitened_latents_is_a_projector() -> None:
    core = GaussianCore((50_000, 50_000), GaussianConfig(rank=32))
    projector = core.propagator(torch.tensor([0.0, 1.0], dtype=torch.float64), "exact")
    assert isinstance(projector, Mask)
    assert projector.rank() == 32 == core.leading_rank
    assert projector.mask[:32].all()
    assert sum(buffer.numel() for buffer in core.buffers()) < 100
    assert isinstance(core.at(0.5), Mask)
    assert isinstance(core.at(0.25), Diagonal)


@pytest.mark.parametrize("basis", ["leading", "principal"])
def test_exact_is_the_limit_of_every_solver(basis: str) -> None:
    core = gaussian(basis)
    grid = uniform_grid(10, stop=0.9)
    exact = core.propagator(grid, "exact").to_dense()
    assert distance((core.propagator(torch.tensor([0.4, 0.9]), "exact") @ core.propagator(torch.tensor([0.0, 0.4]), "exact")).to_dense(), exact) < 1e-7
    for solver, order in (("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4), ("magnus4", 4)):
        coarse, fine = (distance(core.propagator(uniform_grid(steps, stop=0.9), solver).to_dense(), exact) for steps in (64, 128))
        assert math.log2(coarse / fine) > order - 0.4


def test_exact_transports_the_moments_to_the_end() -> None:
    core = gaussian("principal")
    end = core.propagator(torch.tensor([0.0, 1.0], dtype=torch.float64), "exact").to_dense()
    assert distance(end @ end.T, second_moment(core)) < 1e-12
    assert distance(core.propagator(uniform_grid(400, stop=1.0), "rk4").to_dense(), end) < 1e-8


def test_gaussian_velocity() -> None:
    for basis in ("leading", "principal"):
        core = gaussian(basis)
        assert distance(core.velocity_at(0.7).to_dense(), velocity_operator(core.at(0.7), 0.7).to_dense()) < 1e-12
    with pytest.raises(NoTerminalLimitError, match="use the solver 'exact'"):
        gaussian("leading").propagator(uniform_grid(4, stop=1.0), "rk4")


def test_principal_core_must_be_fitted_first() -> None:
    core = GaussianCore((DIM, DIM), GaussianConfig(rank=RANK, basis="principal"))
    with pytest.raises(NotInitializedError, match=r"call fit\(latents\)"):
        core.at(0.5)
    core.fit(torch.randn(50, DIM))
    fresh = GaussianCore((DIM, DIM), GaussianConfig(rank=RANK, basis="principal"))
    fresh.load_state_dict(core.state_dict())
    assert torch.equal(fresh.at(0.5).to_dense(), core.at(0.5).to_dense())


def test_principal_collapses_in_the_dimension_of_the_subspace() -> None:
    core = gaussian("principal", torch.float32)
    assert isinstance(core.propagator(uniform_grid(5), "rk4"), SharedSubspace)


# --- shared subspace -----------------------------------------------------------------------------


def shared() -> SharedSubspaceCore:
    core = make("shared_subspace")
    assert isinstance(core, SharedSubspaceCore)
    return core


def test_shared_subspace_starts_as_an_orthogonal_projector() -> None:
    torch.manual_seed(0)
    core = SharedSubspaceCore((DIM, DIM), SharedSubspaceConfig(rank=RANK)).double()
    start = core.at(0.3).to_dense()
    assert distance(start @ start, start) < 1e-6
    assert distance(start.T, start) < 1e-6
    assert core.at(0.9).rank() == RANK


def test_shared_subspace_is_regular_on_the_subspace() -> None:
    core = shared()
    generator = torch.linalg.lstsq(core.right, (core.velocity_at(0.999).T @ Dense(core.right)).to_dense()).solution.T
    assert distance(generator, core.network.at(0.999).view(RANK, RANK)) < 1e-9


def test_magnus_reaches_the_end_and_converges_to_a_fine_reference() -> None:
    core = shared()
    reference = core.propagator(uniform_grid(1024, stop=1.0), "magnus4").to_dense()
    errors = [distance(core.propagator(uniform_grid(steps, stop=1.0), "magnus4").to_dense(), reference) for steps in (16, 32, 64)]
    assert errors[2] < 1e-5
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) > 3.8
    assert int(torch.linalg.matrix_rank(reference)) == RANK
    with pytest.raises(NoTerminalLimitError):
        core.propagator(uniform_grid(4, stop=1.0), "rk4")


def test_the_regular_form_agrees_with_runge_kutta_before_the_end() -> None:
    core = shared()
    fine = core.propagator(uniform_grid(800, stop=0.9), "rk4").to_dense()
    assert distance(core.propagator(uniform_grid(256, stop=0.9), "magnus4").to_dense(), fine) < 1e-7


def test_shared_subspace_propagators_stay_shared_and_match_the_generic_collapse() -> None:
    core, grid = shared(), uniform_grid(12)
    for solver in SOLVERS:
        operator = core.propagator(grid, solver)
        assert isinstance(operator, SharedSubspace)
        assert float(operator.scale) > 0
    with torch.no_grad():
        generic = collapse(core.velocity_at, grid, "rk4")
        z = torch.randn(3, DIM, dtype=torch.float64)
        assert distance(core.propagator(grid, "rk4")(z), generic(z)) < 1e-12
        assert distance(core.integrate(z, grid, "euler"), integrate(core.velocity_at, z, grid, "euler")) < 1e-12


# --- low rank --------------------------------------------------------------------------------------


def test_low_rank_has_the_published_form() -> None:
    core = make("low_rank")
    assert isinstance(core.at(0.2), LowRank)
    assert core.at(0.2).rank() == RANK
    assert distance(core.at(0.2).to_dense(), core.at(0.8).to_dense()) > 1e-2


# --- projector -------------------------------------------------------------------------------------


def projector(**options: float | int | None) -> ProjectorCore:
    torch.manual_seed(0)
    return ProjectorCore((40, 40), ProjectorConfig.model_validate(options)).double()


def test_static_projector() -> None:
    core = projector(rank=5)
    for mode in (True, False):
        operator = core.train(mode).operator()
        assert isinstance(operator, Mask)
        assert operator.mask.tolist() == [True] * 5 + [False] * 35
        assert operator.dtype == torch.float64
    assert not list(core.parameters())
    assert core.load_state_dict(core.state_dict()).missing_keys == []


def test_learned_projector_rounds_and_passes_the_gradient_straight_through() -> None:
    core = projector(logit_mean=0.0, logit_std=2.0)
    training, evaluation = core.train().operator(), core.eval().operator()
    assert isinstance(training, Diagonal)
    assert isinstance(evaluation, Mask)
    assert torch.equal(training.values, evaluation.to_dense().diagonal())
    assert torch.equal(training.values, core.logits.sigmoid().round())
    assert 0 < evaluation.rank() < 40
    assert torch.equal((training @ training).to_dense(), training.to_dense())
    (gradient,) = torch.autograd.grad(training.values.sum(), core.logits)
    soft = core.logits.sigmoid()
    assert torch.allclose(gradient, soft * (1 - soft))


def test_projector_starts_where_it_is_told_and_refuses_rectangles() -> None:
    assert projector(logit_mean=3.0, logit_std=0.0).logits.min().item() == 3.0
    assert ProjectorCore((4000, 4000), ProjectorConfig()).eval().operator().rank() < 400
    with pytest.raises(ShapeMismatchError):
        ProjectorCore((3, 4), ProjectorConfig())


# --- hooks -----------------------------------------------------------------------------------------


def test_every_spec_loads_a_core_with_its_configuration() -> None:
    specs = hooks.linearizer_operators()
    assert [spec.name for spec in specs] == ["gaussian", "low_rank", "projector", "shared_subspace"]
    for spec in specs:
        spec.check()
        options = {"rank": 2}
        core = spec.load_target()((6, 6), spec.load_config().model_validate(options), conditions=None)
        assert isinstance(core, CoreOperator)
        assert isinstance(core, nn.Module)
        operator = core.at(0.5) if isinstance(core, TimeDependentCore) else core.operator()
        assert isinstance(operator, LinearOperator)
        assert operator(torch.ones(6)).shape == (6,)


@pytest.mark.parametrize("grid", [[], [0.5], [0.5, 0.2], [1.0, 1.0], [0.0, 1.5], [-0.5, 0.5], [0.0, math.nan]])
@pytest.mark.parametrize(("name", "solver"), CASES)
def test_grids_that_are_none_are_refused_by_every_solver(name: str, solver: str, grid: list[float]) -> None:
    core, times = make(name), torch.tensor(grid, dtype=torch.float64)
    with pytest.raises(ConfigError, match="uniform_grid makes one"):
        core.propagator(times, solver)
    with pytest.raises(ConfigError, match="uniform_grid makes one"):
        core.integrate(torch.ones(2, DIM, dtype=torch.float64), times, solver)
