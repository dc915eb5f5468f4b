from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator, TimeDependentCore
from linearizer_core.errors import (
    ConditionError,
    ConfigError,
    DataError,
    NoTerminalLimitError,
    NotInitializedError,
    ShapeMismatchError,
    StepSizeError,
    UnknownSolverError,
)
from linearizer_core.operators import Dense, Diagonal, LinearOperator, LowRank, Mask, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, TERMINALS, FlowSummary, Terminal, collapse, guided, integrate, time_grid, velocity_operator
from linearizer_operators import hooks
from linearizer_operators.config import GaussianConfig, LowRankConfig, SharedSubspaceConfig
from linearizer_operators.gaussian import GaussianCore
from linearizer_operators.low_rank import LowRankCore
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
RULES = [(name, solver, terminal) for name, solver in CASES for terminal in TERMINALS if name != "low_rank" or terminal != "limit"]


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


@pytest.mark.parametrize(("name", "solver", "terminal"), RULES)
@pytest.mark.parametrize("steps", [2, 3, 20, 200])
def test_collapse_is_the_loop(name: str, solver: str, terminal: Terminal, steps: int) -> None:
    grid, z = time_grid(steps, terminal), torch.randn(4, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    core = make(name)
    try:
        operator = core.propagator(grid, solver, terminal=terminal, rtol=1e-14)
    except NoTerminalLimitError:
        assert terminal == "last_step"
        assert solver in ("heun", "rk4")
        with pytest.raises(NoTerminalLimitError):
            core.integrate(z, grid, solver, terminal=terminal)
        return
    assert operator.dtype == torch.float64
    with torch.no_grad():
        assert distance(operator(z), core.integrate(z, grid, solver, terminal=terminal)) < 1e-12
        if steps == 20:
            narrow = make(name, torch.float32)
            loop = narrow.integrate(z.float(), grid, solver, terminal=terminal)
            assert loop.dtype == torch.float32
            assert distance(narrow.propagator(grid, solver, terminal=terminal)(z), loop.double()) < 1e-5
            in_float32 = narrow.propagator(grid, solver, terminal=terminal, dtype=torch.float32)
            assert in_float32.dtype == torch.float32
            assert distance(in_float32(z), operator(z)) < 1e-5


@pytest.mark.parametrize(("name", "solver", "terminal"), [rule for rule in RULES if rule[2] != "last_step"])
@settings(deadline=None, max_examples=5)
@given(times=st.lists(st.floats(0, 0.95), min_size=3, max_size=9, unique_by=lambda t: round(t, 2)), data=st.data())
def test_propagators_form_a_semigroup_on_any_grid(name: str, solver: str, terminal: Terminal, times: list[float], data: st.DataObject) -> None:
    core, grid = make(name), torch.tensor(sorted(times), dtype=torch.float64)
    cut = data.draw(st.integers(1, len(times) - 2))
    whole, first, second = (core.propagator(part, solver, terminal=terminal, rtol=1e-14) for part in (grid, grid[: cut + 1], grid[cut:]))
    assert distance((second @ first).to_dense(), whole.to_dense()) < 1e-11
    z = torch.randn(2, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        assert distance(whole(z), core.integrate(z, grid, solver, terminal=terminal)) < 1e-11


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_at_times_is_at(name: str) -> None:
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-6)):
        core, times = make(name, dtype), torch.tensor([0.3, 0.0, 0.9, 0.3, 1.0], dtype=torch.float64)
        found = core.at_times(times)
        assert [operator.dtype for operator in found] == [dtype] * 5
        for t, operator in zip(times.tolist(), found, strict=True):
            assert float((operator.to_dense() - core.at(t).to_dense()).detach().abs().max()) < tolerance


# --- one step, and where it ends ------------------------------------------------------------------


def test_the_defaults_of_one_step() -> None:
    expected = {"leading": ("exact", "limit"), "principal": ("exact", "limit"), "low_rank": ("rk4", "early"), "shared_subspace": ("magnus4", "limit")}
    for name, (solver, terminal) in expected.items():
        core = make(name)
        assert (core.default_solver, core.default_terminal) == (solver, terminal)
        asked = core.propagator(time_grid(100, core.default_terminal), solver, terminal=core.default_terminal)
        assert torch.equal(core.one_step().to_dense(), asked.to_dense())


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_one_step_over_a_part_of_the_flow(name: str) -> None:
    """Before t = 1 nothing is left out: the default ends at ``stop``, and parts compose to the whole."""
    core = make(name)
    first, second, whole = (core.one_step(40, start=start, stop=stop, rtol=1e-14) for start, stop in ((0.1, 0.4), (0.4, 0.7), (0.1, 0.7)))
    assert distance((second @ first).to_dense(), whole.to_dense()) < 1e-4
    joined = torch.cat([time_grid(40, "limit", start=0.1, stop=0.4), time_grid(40, "limit", start=0.4, stop=0.7)[1:]])
    terminal = "limit" if "limit" in core.terminals else "early"
    exactly = core.propagator(joined, core.default_solver, terminal=terminal, rtol=1e-14)
    assert distance((second @ first).to_dense(), exactly.to_dense()) < 1e-12


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_what_each_rule_leaves_behind(name: str) -> None:
    """Early: invertible, with 1/T of the noise beside the subspace. At 1: no noise, no inverse; but a fitted variance beside it stays."""
    core, steps = make(name), 50
    if name == "low_rank":  # of a size at which its propagator stays of low rank
        core = LowRankCore((200, 200), LowRankConfig(rank=RANK, width=16)).double()
    early, last = (FlowSummary.of(core.one_step(steps, "euler", terminal)) for terminal in ("early", "last_step"))
    assert early.invertible
    if name == "principal":
        assert last.invertible
        return
    assert early.scale == pytest.approx(1 / steps, rel=1e-9)
    assert last.residual_noise < 1e-12
    assert not last.invertible
    assert last.rank == RANK
    if "limit" in core.terminals:
        limit = FlowSummary.of(core.one_step(steps, terminal="limit"))
        assert (limit.rank, limit.residual_noise) == (RANK, 0.0)


@pytest.mark.parametrize(("name", "solver"), [case for case in CASES if case[0] != "low_rank"])
def test_adaptive_steps_to_the_limit_meet_the_tolerance(name: str, solver: str) -> None:
    core, tol = make(name), 1e-2 if solver == "euler" else 1e-4
    found = core.adaptive_grid(tol=tol, solver=solver, terminal="limit")
    reference = core.propagator(time_grid(800, "limit"), "exact" if "exact" in core.solvers else "magnus4", terminal="limit").to_dense()
    operator = core.propagator(found.times, solver, terminal="limit")
    difference = float(torch.linalg.matrix_norm(operator.to_dense() - reference, 2))
    assert difference <= found.error_bound + 1e-9
    assert found.error_bound <= tol
    assert torch.equal(core.one_step(solver=solver, terminal="limit", tol=tol).to_dense(), operator.to_dense())


def test_adaptive_steps_of_a_core_without_a_limit() -> None:
    core = make("low_rank")
    operator, stop = core.one_step(20, tol=1e-3), 0.95
    reference = core.propagator(time_grid(400, "last_step", stop=stop), "rk4", rtol=1e-14)
    assert float(torch.linalg.matrix_norm(operator.to_dense() - reference.to_dense(), 2)) < 1e-3
    with pytest.raises((StepSizeError, NoTerminalLimitError), match="limit"):
        core.adaptive_grid(tol=1e-3, solver="magnus4")
    assert core.adaptive_grid(tol=1e-2, stop=0.5).error_bound < 1e-2


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_rules_and_tolerances_that_are_refused(name: str) -> None:
    core = make(name)
    if name == "low_rank":
        for call in (lambda: core.one_step(terminal="limit"), lambda: core.flow("limit"), lambda: core.adaptive_grid(tol=1e-3, terminal="limit")):
            with pytest.raises(NoTerminalLimitError, match=r"has no terminal rule 'limit': .* it offers: early, last_step"):
                call()
    late: Any = "late"
    for solver in {"euler", core.default_solver}:
        grid = time_grid(4)
        for call in (
            lambda solver=solver: core.one_step(4, solver, late),
            lambda grid=grid, solver=solver: core.propagator(grid, solver, terminal=late),
            lambda grid=grid, solver=solver: core.integrate(torch.ones(1, DIM, dtype=torch.float64), grid, solver, terminal=late),
        ):
            with pytest.raises(ConfigError, match=f"{type(core).__name__}: terminal is 'late', expected one of: early, last_step"):
                call()
    with pytest.raises(UnknownSolverError, match="it offers: euler"):
        core.one_step(solver="dopri5")
    with pytest.raises(UnknownSolverError):
        core.adaptive_grid(tol=1e-3, solver="dopri5")
    with pytest.raises(ConfigError, match="expected 0 <= start < stop <= 1"):
        core.one_step(start=0.5, stop=0.2)


def test_two_cores_can_guide_each_other() -> None:
    torch.manual_seed(1)
    cores = [shaken(LowRankCore((DIM, DIM), LowRankConfig(rank=RANK, width=16)).double()) for _ in range(2)]
    flow, grid = guided(cores[0].flow(), cores[1].flow(), 1.7), time_grid(30)
    z = torch.randn(3, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    with torch.no_grad():
        assert distance(collapse(flow, grid, "rk4", rtol=1e-14)(z), integrate(flow, z, grid, "rk4")) < 1e-12
    with pytest.raises(ConfigError, match=r"ask the cores for flow\('early'\)"):
        guided(make("shared_subspace").flow("limit"), make("leading").flow("limit"), 0.5)


@pytest.mark.parametrize("name", ["low_rank", "shared_subspace"])
def test_gradients_reach_all_parameters(name: str) -> None:
    core, z = make(name), torch.randn(6, DIM, dtype=torch.float64)
    routes: list[Callable[[], Tensor]] = [lambda: core.predict(z, torch.linspace(0, 0.9, 6, dtype=torch.float64)), lambda: core.at(0.4)(z)]
    routes += [lambda terminal=terminal: core.integrate(z, time_grid(4, terminal), "magnus4", terminal=terminal) for terminal in core.terminals]
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
        core.propagator(time_grid(4), "dopri5")
    with pytest.raises(UnknownSolverError):
        core.integrate(torch.ones(2, DIM, dtype=torch.float64), time_grid(4), "dopri5")
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
    grid = time_grid(10, "last_step", stop=0.9)
    exact = core.propagator(grid, "exact").to_dense()
    assert distance((core.propagator(torch.tensor([0.4, 0.9]), "exact") @ core.propagator(torch.tensor([0.0, 0.4]), "exact")).to_dense(), exact) < 1e-7
    for solver, order in (("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4), ("magnus4", 4)):
        coarse, fine = (distance(core.propagator(time_grid(steps, "last_step", stop=0.9), solver).to_dense(), exact) for steps in (64, 128))
        assert math.log2(coarse / fine) > order - 0.4


def test_exact_transports_the_moments_to_the_end() -> None:
    core = gaussian("principal")
    end = core.propagator(torch.tensor([0.0, 1.0], dtype=torch.float64), "exact").to_dense()
    assert distance(end @ end.T, second_moment(core)) < 1e-12
    for terminal in ("last_step", "limit"):  # no coordinate is without variance here
        assert distance(core.propagator(time_grid(400, terminal), "rk4", terminal=terminal).to_dense(), end) < 1e-8


def test_gaussian_velocity() -> None:
    for basis in ("leading", "principal"):
        core = gaussian(basis)
        assert distance(core.velocity_at(0.7).to_dense(), velocity_operator(core.at(0.7), 0.7).to_dense()) < 1e-12
    with pytest.raises(NoTerminalLimitError, match="use the terminal rule 'limit', the solver 'exact', or one that never"):
        gaussian("leading").propagator(time_grid(4, "last_step"), "rk4")


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
    assert isinstance(core.propagator(time_grid(5), "rk4"), SharedSubspace)


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
    assert distance(generator, core.network.at_times(torch.tensor([0.999], dtype=torch.float64)).view(RANK, RANK)) < 1e-9


def test_magnus_reaches_the_end_and_converges_to_a_fine_reference() -> None:
    core = shared()
    reference = core.propagator(time_grid(1024, "limit"), "magnus4", terminal="limit").to_dense()
    errors = [distance(core.propagator(time_grid(steps, "limit"), "magnus4", terminal="limit").to_dense(), reference) for steps in (16, 32, 64)]
    assert errors[2] < 1e-5
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) > 3.8
    assert int(torch.linalg.matrix_rank(reference)) == RANK
    with pytest.raises(NoTerminalLimitError):
        core.propagator(time_grid(4, "last_step"), "rk4")


def test_the_regular_form_agrees_with_runge_kutta_before_the_end() -> None:
    core = shared()
    fine = core.propagator(time_grid(800, "last_step", stop=0.9), "rk4").to_dense()
    assert distance(core.propagator(time_grid(256, "last_step", stop=0.9), "magnus4", terminal="limit").to_dense(), fine) < 1e-7


def test_shared_subspace_propagators_stay_shared_and_match_the_generic_collapse() -> None:
    core, grid = shared(), time_grid(12)
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


# --- hooks -----------------------------------------------------------------------------------------


def test_every_spec_loads_a_core_with_its_configuration() -> None:
    specs = hooks.linearizer_operators()
    assert [spec.name for spec in specs] == sorted(spec.name for spec in specs)
    assert {"gaussian", "generator", "projector", "convolution"} <= {spec.name for spec in specs}
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
    with pytest.raises(ConfigError, match="time_grid makes one"):
        core.propagator(times, solver)
    with pytest.raises(ConfigError, match="time_grid makes one"):
        core.integrate(torch.ones(2, DIM, dtype=torch.float64), times, solver)


def test_variances_that_are_rounding_are_none() -> None:
    """Latents on 3 of 12 dimensions: with nine variances of about 1e-16 no number of steps would come near to the exact limit."""
    latents = torch.randn(200, 3, dtype=torch.float64) @ torch.randn(3, DIM, dtype=torch.float64)
    core = GaussianCore((DIM, DIM), GaussianConfig(rank=5, basis="principal")).double()
    core.fit(latents)
    assert (core.variance > 0).tolist() == [True] * 3 + [False] * 2
    assert float(core.tail_variance) == 0
    exact, steps = core.one_step(), core.one_step(100, "rk4", "limit")
    assert distance(steps.to_dense(), exact.to_dense()) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_limit_of_principal_directions_stays_in_their_subspace(dtype: torch.dtype) -> None:
    core = gaussian("principal", dtype)
    for terminal in ("early", "limit"):
        operator = core.one_step(10, "rk4", terminal)
        assert isinstance(operator, SharedSubspace)
        assert operator.left.data_ptr() == core.basis.data_ptr()


def test_a_tolerance_that_is_none_is_refused() -> None:
    for name in ("leading", "low_rank"):
        with pytest.raises(ConfigError, match="tol is -1, expected a positive number"):
            MAKERS[name](torch.float64).one_step(tol=-1)
