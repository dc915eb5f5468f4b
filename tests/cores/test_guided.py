"""Cores under conditions, and guidance between them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core import Condition, create_core
from linearizer_core.cores import GuidedCore, TimeDependentCore
from linearizer_core.errors import ConditionError, ConfigError, NoTerminalLimitError, ShapeMismatchError
from linearizer_core.operators import SharedSubspace
from linearizer_core.operators.flow import guided
from linearizer_core.testing.perturb import perturb
from tests.operators.zoo import relative_error

DIM = 10


def made(name: str, conditions: dict[str, int] | None = None, dim: int = DIM) -> TimeDependentCore:
    torch.manual_seed(0)
    core = create_core(name, (dim, dim), conditions=conditions, rank=2).double()
    assert isinstance(core, TimeDependentCore)
    for _ in range(3):
        perturb(core)
    return core


def label(*values: int) -> Condition:
    return Condition(label=torch.tensor(values))


@pytest.mark.parametrize("name", ["shared_subspace", "low_rank"])
def test_a_condition_changes_the_operator_and_shares_the_parameters(name: str) -> None:
    core = made(name, {"label": 4})
    first, second = (core.given(label(value)) for value in (0, 3))
    assert relative_error(first.at(0.3).to_dense(), second.at(0.3).to_dense()) > 1e-2
    assert relative_error(first.one_step(10).to_dense(), second.one_step(10).to_dense()) > 1e-2
    assert all(mine is theirs for mine, theirs in zip(first.parameters(), core.parameters(), strict=True))
    assert core.condition is None
    assert torch.equal(core.operator(Condition(time=torch.tensor([0.3], dtype=torch.float64), label=torch.tensor([3]))).to_dense(), second.at(0.3).to_dense())
    (first.predict(torch.ones(3, DIM).double(), torch.full((3,), 0.5).double()).sum()).backward()
    assert all(parameter.grad is not None for parameter in core.parameters())


@pytest.mark.parametrize("name", ["shared_subspace", "low_rank"])
def test_conditions_are_needed_where_they_are_declared_and_ignored_elsewhere(name: str) -> None:
    core = made(name, {"label": 4})
    for wrong in (None, Condition(style=torch.tensor([1]))):
        with pytest.raises(ConditionError, match="'label'"):
            core.given(wrong).one_step(4)
    with pytest.raises(ConditionError, match="values must lie in 0 to 3"):
        core.given(label(4)).at(0.5)
    for times in (torch.tensor([0.5]), torch.tensor([0.2, 0.5])):
        with pytest.raises(ConditionError, match="expected 1 row"):
            core.given(label(1, 2)).at_times(times)
    plain = made(name)
    assert plain.given(label(1)) is plain


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(["shared_subspace", "low_rank"]), weight=st.floats(-1, 4), solver=st.sampled_from(["euler", "rk4", "magnus4"]))
def test_guidance_mixes_operators_and_collapses_to_its_loop(name: str, weight: float, solver: str) -> None:
    core = made(name, {"label": 4})
    first, second = core.given(label(3)), core.given(label(1))
    mixed = GuidedCore(first, second, weight)
    expected = first.at(0.4).to_dense() + weight * (second.at(0.4).to_dense() - first.at(0.4).to_dense())
    assert relative_error(mixed.at(0.4).to_dense(), expected) < 1e-12
    z, t = torch.randn(3, DIM, dtype=torch.float64), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    rows = torch.stack([mixed.at(time)(row) for time, row in zip(t.tolist(), z, strict=True)])
    assert relative_error(mixed.predict(z, t), rows) < 1e-12
    for terminal in mixed.terminals:
        if terminal == "last_step" and solver == "rk4":
            continue
        plan = mixed.plan(12, solver, terminal)
        operator = mixed.one_step(12, solver, terminal, rtol=1e-15)
        assert relative_error(operator(z), mixed.integrate(z, plan.grid, solver, terminal=terminal)) < 1e-10
    for end, core_itself in ((0.0, first), (1.0, second)):
        assert relative_error(GuidedCore(first, second, end).one_step(12).to_dense(), core_itself.one_step(12).to_dense()) < 1e-10


def test_guidance_on_one_subspace_stays_in_it_up_to_the_limit() -> None:
    core = made("shared_subspace", {"label": 4})
    mixed = GuidedCore(core.given(label(3)), core.given(label(1)), 2.0)
    assert (mixed.default_solver, mixed.default_terminal) == ("magnus4", "limit")
    operator = mixed.one_step()
    assert isinstance(operator, SharedSubspace)
    assert operator.scale == 0
    assert operator.left.data_ptr() == core.left.data_ptr()  # type: ignore[union-attr, operator]
    ends = [core.given(label(value)).one_step() for value in (3, 1)]
    assert relative_error(operator.to_dense(), (ends[0] + 2.0 * (ends[1] - ends[0])).to_dense()) > 1e-3  # no mixture of what was collapsed


def test_what_cannot_be_guided_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="10 and 8 dimensions"):
        GuidedCore(made("low_rank"), made("low_rank", dim=8), 1.0)
    mixed = GuidedCore(made("low_rank"), made("shared_subspace"), 0.5)
    assert mixed.terminals == ("early", "last_step")
    assert mixed.one_step(5, "euler").shape == (DIM, DIM)
    with pytest.raises(NoTerminalLimitError):
        mixed.one_step(5, terminal="limit")
    with pytest.raises(ConfigError, match="expected two flows on one subspace"):
        guided(made("shared_subspace").flow("limit"), made("low_rank").flow(), 0.5)
    for pair in ([create_core("gaussian", (DIM, DIM), rank=2) for _ in range(2)], [made("shared_subspace"), made("shared_subspace")]):
        apart = GuidedCore(pair[0], pair[1], 2.0)
        assert (apart.terminals, apart.default_terminal) == (("early", "last_step"), "early")
        assert apart.one_step(5).shape == (DIM, DIM)
    exact = GuidedCore(create_core("gaussian", (DIM, DIM), rank=2), made("low_rank"), 0.5)
    assert "exact" not in exact.solvers
    assert exact.default_solver == "rk4"
