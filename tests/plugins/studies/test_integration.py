"""The study integration: orders of known solvers, what it refuses, what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from linearizer_core.bijections import Identity
from linearizer_core.config import CollapseConfig
from linearizer_core.cores import TimeDependentCore
from linearizer_core.errors import ConfigError, UnknownSolverError
from linearizer_core.factory import create_study
from linearizer_core.study import StudyReport, StudySubject
from linearizer_studies.integration import fit_order

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "exponential_midpoint": 2, "magnus4": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("integration")


@pytest.fixture(scope="module")
def report(by_hand: Callable[..., StudySubject], known_flow: TimeDependentCore, folder: Path) -> StudyReport:
    subject = by_hand(known_flow, gx=Identity((64,)), collapse=CollapseConfig(steps=2, solver="euler", terminal="limit"))
    return create_study("integration", steps=[1, 2, 4, 8, 16, 32], examples=4, terminals=["limit"]).run(subject, folder)


def test_orders_are_those_of_the_solvers(report: StudyReport, folder: Path) -> None:
    fitted = {row["solver"]: row["fitted order"] for row in report.tables["Order of convergence"]}
    assert fitted == {solver: pytest.approx(order, abs=0.25) for solver, order in ORDERS.items()}
    assert report.figures == ("errors_limit.png",)
    assert (folder / "errors_limit.png").stat().st_size > 1000


def test_the_collapse_is_the_loop_and_the_rest_is_discretisation(report: StudyReport) -> None:
    assert report.metrics["largest_vs_loop_float64"] < 1e-13
    assert report.metrics["largest_vs_loop"] < 1e-5
    steps = {row["solver"]: row["T for 0.001"] for row in report.tables["Order of convergence"]}
    assert steps["rk4"] <= 4 < 32 <= (steps["euler"] or 32)
    errors = [row["against the exact flow"] for row in report.tables["Errors"] if row["solver"] == "euler"]
    assert errors == sorted(errors, reverse=True)


def test_the_saved_operator_is_judged(report: StudyReport) -> None:
    two_steps = next(row for row in report.tables["Errors"] if (row["solver"], row["T"]) == ("euler", 2))
    assert report.metrics["saved_vs_exact"] == pytest.approx(two_steps["against the exact flow"], rel=1e-4)
    assert any("one is not enough" in sentence for sentence in report.findings)


def test_a_trained_flow_in_closed_form(flow: StudySubject, tmp_path: Path) -> None:
    report = create_study("integration", steps=[4, 8, 16], solvers=["euler", "rk4"], examples=8, images=4).run(flow, tmp_path)
    assert report.metrics["reference"] == "the closed form of the core"
    assert report.metrics["saved_vs_exact"] < 1e-6
    short = {row["T"]: row["stopping short"] for row in report.tables["Errors"] if row["terminal"] == "early" and row["solver"] == "euler"}
    assert short[4] > short[8] > short[16] > 0
    assert {row["terminal"] for row in report.tables["Errors"] if row["solver"] == "rk4"} == {"early", "limit"}  # rk4 cannot end where the velocity is singular


def test_what_it_needs_is_said(projector: StudySubject, flow: StudySubject, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a core that depends on time.*MaskProjector"):
        create_study("integration").run(projector, tmp_path)
    with pytest.raises(UnknownSolverError, match="no solver 'rk5'"):
        create_study("integration", solvers=["rk5"]).run(flow, tmp_path)
    with pytest.raises(ConfigError, match="none of heun can be used with last_step"):
        create_study("integration", solvers=["heun"], terminals=["last_step"]).run(flow, tmp_path)


def test_no_order_is_fitted_to_rounding() -> None:
    assert fit_order([1, 2, 4, 8], [1e-13, 2e-13, 1e-13, 1e-14]) is None
    assert fit_order([1, 2], [1e-1, 1e-2]) is None
    fit = fit_order([1, 2, 4, 8, 16, 32], [0.9, 0.5, 1e-2, 1e-3, 1e-4, 5e-4])
    assert fit is not None
    assert (fit.first, fit.last) == (4, 16)
