"""The study nullspace: dimensions of known operators, and what it says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from linearizer_core.factory import create_study
from linearizer_core.operators import Dense, Diagonal, Mask
from linearizer_core.study import StudyReport, StudySubject


def study(subject: StudySubject, folder: Path) -> StudyReport:
    report: StudyReport = create_study("nullspace", examples=60, directions=3).run(subject, folder)
    return report


def sets(report: StudyReport) -> list[str]:
    return [row["for this f"] for row in report.tables["What f can and cannot represent"]]


def test_a_projector(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = study(by_hand(Mask(torch.arange(64) < 5)), tmp_path)
    assert (report.metrics["rank"], report.metrics["nullity"], report.metrics["fixed_dimensions"]) == (5, 59, 5)
    assert report.metrics["moved_inputs"] > 0.2
    assert report.metrics["moved_outputs"] < 1e-6
    assert report.metrics["largest_drift_between_fixed_points"] < 1e-6
    assert sets(report) == [
        "a connected set like R^59, without end",
        "nothing, or a connected set like R^59",
        "a connected set like R^5 in R^64, without holes",
        "a connected set like R^5, straight lines of the induced space between any two",
    ]
    assert [row["direction"] for row in report.tables["Null directions"]] == [1, 2, 3]
    assert report.figures == ("null_directions.png",)


def test_an_invertible_map_has_one_zero(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = study(by_hand(Diagonal(torch.linspace(0.5, 2, 64))), tmp_path)  # one of the values is 1
    assert (report.metrics["nullity"], report.metrics["deficiency"], report.metrics["fixed_dimensions"]) == (0, 0, 1)
    assert sets(report)[:3] == ["one point, g_x^-1(0)", "one point: f is injective", "everything"]
    assert "largest_drift_between_fixed_points" not in report.metrics
    assert report.figures == ()


def test_what_is_not_seen_and_what_is_not_reached_are_two_things(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    matrix = torch.zeros(64, 64)
    matrix[:3, 61:] = torch.eye(3)  # nilpotent: it reads the last coordinates and writes the first
    report = study(by_hand(Dense(matrix)), tmp_path)
    assert (report.metrics["rank"], report.metrics["nullity"], report.metrics["fixed_dimensions"]) == (3, 61, 0)
    assert report.metrics["idempotency"] == pytest.approx(1)
    assert "unreachable.png" in report.figures
    assert sets(report)[3] == "one point, g^-1(0)"


def test_the_noise_of_a_flow(flow: StudySubject, tmp_path: Path) -> None:
    report = study(flow, tmp_path)
    assert (report.metrics["rank"], report.metrics["nullity"]) == (6, 58)
    assert report.metrics["moved_outputs"] < 1e-5 < 0.5 < report.metrics["moved_inputs"]
    assert "fixed_dimensions" not in report.metrics
    assert "unreachable.png" in report.figures
