"""The collapse of a core as it is saved: what is made, and whether the report tells the truth of it."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from linearizer_core import create_core
from linearizer_core.collapse import CollapseReport, collapse_core, measured_collapse
from linearizer_core.config import CollapseConfig
from linearizer_core.cores import TimeDependentCore
from linearizer_core.errors import ConfigError, NoTerminalLimitError, TruncationError, UnknownSolverError
from linearizer_core.figures.singular_values import plot_singular_values
from linearizer_core.operators import LowRank, Mask, SharedSubspace
from linearizer_core.operators.flow import TERMINALS
from linearizer_core.testing.perturb import perturb

DIM, RANK = 24, 3
PNG = b"\x89PNG"


def moved(name: str, **options: Any) -> TimeDependentCore:
    """A core whose A_t varies with t."""
    torch.manual_seed(0)
    core = create_core(name, (DIM, DIM), **options)
    assert isinstance(core, TimeDependentCore)
    for _ in range(3):
        perturb(core)
    return core


def loop(core: TimeDependentCore, z: Tensor, config: CollapseConfig) -> Tensor:
    plan = core.plan(config.steps, config.solver, config.terminal, tol=config.tol)
    return core.integrate(z, plan.grid, plan.solver, terminal=plan.terminal)


@pytest.mark.parametrize("name", ["shared_subspace", "low_rank"])
@pytest.mark.parametrize("config", [CollapseConfig(steps=20), CollapseConfig(steps=20, solver="midpoint", terminal="early"), CollapseConfig(tol=1e-3, steps=4)])
def test_the_operator_is_the_loop_and_the_report_says_how_nearly(name: str, config: CollapseConfig) -> None:
    core = moved(name, rank=RANK)
    operator, report = measured_collapse(core, config)
    assert torch.equal(operator.to_dense(), collapse_core(core, config).to_dense())
    z = torch.randn(7, DIM, dtype=torch.float64)
    assert (operator(z) - loop(core, z, config)).norm() / z.norm() < 1e-5
    assert report.error_vs_loop_float64 <= report.error_vs_loop_float32 < 1e-5
    assert report.error_vs_loop_float64 < 1e-6
    values = torch.linalg.svdvals(operator.to_dense())
    assert report.norm == pytest.approx(float(values[0]), rel=1e-9)
    assert report.singular_values == pytest.approx(values.tolist(), abs=1e-9)
    assert (report.cond is None) == (report.rank < DIM)
    assert report.dense_bytes == 8 * DIM**2
    assert report.operator_bytes > 0
    assert CollapseReport.model_validate(report.model_dump(mode="json")) == report
    assert (report.error_bound is None) == (config.tol is None)
    if config.tol is None:
        assert report.steps == (19 if report.terminal == "early" else 20)
    else:
        assert report.error_bound is not None
        assert report.error_bound <= config.tol


def test_a_rule_for_the_end_decides_what_is_invertible_and_what_stays_noise() -> None:
    core = moved("shared_subspace", rank=RANK)
    early, limit = (measured_collapse(core, CollapseConfig(steps=10, terminal=terminal))[1] for terminal in ("early", "limit"))
    assert early.stop == pytest.approx(0.9)
    assert (early.c, early.complement, early.rank) == (pytest.approx(0.1, rel=1e-2), DIM - RANK, DIM)
    assert early.cond is not None
    assert "B is invertible, with a condition number of" in early.consequence
    assert f"{early.residual_noise:.1%} of the latent of a sample is noise passed through" in early.consequence
    assert (limit.stop, limit.c, limit.rank, limit.cond, limit.residual_noise) == (1.0, 0.0, RANK, None, 0.0)
    assert f"keeps {RANK} of {DIM} dimensions" in limit.consequence
    assert "no noise passes through" in limit.consequence


def test_a_truncated_operator_keeps_the_largest_singular_values_and_owns_up_to_the_error() -> None:
    core = moved("shared_subspace", rank=RANK)
    whole, cut = (collapse_core(core, CollapseConfig(rank=rank)) for rank in (None, 2))
    assert isinstance(whole, SharedSubspace)
    assert isinstance(cut, LowRank)
    assert torch.linalg.svdvals(cut.to_dense())[:2].tolist() == pytest.approx(torch.linalg.svdvals(whole.to_dense())[:2].tolist())
    report = measured_collapse(core, CollapseConfig(rank=2))[1]
    assert (report.rank, report.truncated_to) == (2, 2)
    assert report.error_vs_loop_float64 > 1e-3
    with pytest.raises(TruncationError, match="expected a rank up to"):
        collapse_core(core, CollapseConfig(rank=10, terminal="early"))


def test_the_tolerance_of_products_is_that_of_the_collapse() -> None:
    core = moved("low_rank", rank=1)
    fine, coarse = (measured_collapse(core, CollapseConfig(steps=30, rtol=rtol))[1] for rtol in (None, 0.3))
    assert fine.error_vs_loop_float64 < 1e-6 < 1e-4 < coarse.error_vs_loop_float64
    assert coarse.operator_bytes < fine.operator_bytes


def test_the_exact_flow_of_a_gaussian_core_is_a_mask() -> None:
    operator, report = measured_collapse(create_core("gaussian", (DIM, DIM), rank=RANK), CollapseConfig())
    assert isinstance(operator, Mask)
    assert (report.solver, report.terminal, report.rank, report.kind) == ("exact", "limit", RANK, "mask")
    assert report.error_vs_loop_float64 < 1e-14


@pytest.mark.parametrize(
    ("core", "config", "error", "message"),
    [
        ("projector", CollapseConfig(), ConfigError, "MaskProjector does not depend on time"),
        ("low_rank", CollapseConfig(solver="rk5"), UnknownSolverError, "rk5"),
        ("low_rank", CollapseConfig(terminal="limit"), NoTerminalLimitError, "it offers: early, last_step"),
        ("low_rank", CollapseConfig(terminal="last_step"), NoTerminalLimitError, "asked for at t = 1"),
    ],
)
def test_what_cannot_be_done_is_refused(core: str, config: CollapseConfig, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        collapse_core(create_core(core, (DIM, DIM), rank=RANK), config)


def test_configurations_know_the_rules_that_flows_know() -> None:
    field = CollapseConfig.model_fields["terminal"].annotation
    assert set(get_args(get_args(field)[0])) == set(TERMINALS)


def test_singular_values_are_drawn_zeros_among_them() -> None:
    _, report = measured_collapse(moved("shared_subspace", rank=RANK), CollapseConfig())
    picture = plot_singular_values(report)
    assert picture.startswith(PNG)
    assert picture == plot_singular_values(report)
    assert picture != plot_singular_values(report.model_copy(update={"complement": 5, "c": 0.1}))
    assert plot_singular_values(report.model_copy(update={"singular_values": (0.0, 0.0), "norm": math.inf})).startswith(PNG)
