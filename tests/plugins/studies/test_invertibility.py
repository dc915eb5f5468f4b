"""The study invertibility: it finds what was planted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, FixedAffine
from linearizer_core.condition import Condition
from linearizer_core.factory import create_study
from linearizer_core.operators import Mask
from linearizer_core.study import StudyReport, StudySubject

KEEP = Mask(torch.arange(64) < 5)


class WrongInverse(Bijection):
    """Forgets a hundredth on the way back."""

    def __init__(self) -> None:
        super().__init__((64,))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return 0.99 * z


def study(subject: StudySubject, folder: Path, **options: object) -> StudyReport:
    report: StudyReport = create_study("invertibility", **{"examples": 16, "searched": 4, "search_steps": 3, **options}).run(subject, folder)
    return report


def errors(report: StudyReport, precision: str) -> dict[str, float]:
    return {row["input"]: row["relative"] for row in report.tables["Round trips"] if row["precision"] == precision}


def test_a_sound_network_is_found_sound(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = study(by_hand(KEEP), tmp_path)
    assert set(errors(report, "float32")) == {"data", "noisy data", "gaussian", "uniform", "saturated", "constant", "searched"}
    assert report.metrics["worst_float32"] < 2e-6
    assert max(errors(report, "float64").values()) < 1e-14
    assert report.metrics["collisions"] == 0
    assert report.metrics["largest_gain"] == pytest.approx(1, abs=1e-3)
    assert all(row["changed bits"] == 0 for row in report.tables["Round trips"])
    assert report.tables["Checkpoints"] == []


def test_a_layer_that_loses_digits_is_named(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection], tmp_path: Path) -> None:
    report = study(by_hand(KEEP, rotation(FixedAffine((64,), shift=3e5, scale=1.0))), tmp_path, precisions=["float64", "float32"])
    data = next(row for row in report.tables["Round trips"] if (row["input"], row["precision"]) == ("data", "float32"))
    assert 4 < data["bits kept"] < 7  # 3e5 leaves 24 - 18 of the 24 bits
    assert data["changed bits"] > 0.5
    assert max(errors(report, "float64").values()) < 1e-9
    assert any("Most harm" in sentence and "FixedAffine" in sentence for sentence in report.findings)
    assert not any("no rounding" in sentence for sentence in report.findings)


def test_collisions_are_counted(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection], tmp_path: Path) -> None:
    report = study(by_hand(KEEP, rotation(FixedAffine((64,), shift=1e9, scale=1.0))), tmp_path, precisions=["float32"], layers=False)
    assert report.metrics["collisions"] > 100
    assert any("not injective in floating point" in sentence for sentence in report.findings)


def test_a_wrong_inverse_is_no_rounding(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection], tmp_path: Path) -> None:
    report = study(by_hand(KEEP, rotation(WrongInverse())), tmp_path, precisions=["float64", "float32"], layers=False)
    assert errors(report, "float64")["data"] == pytest.approx(0.01, rel=0.1)
    assert any("no rounding" in sentence for sentence in report.findings)


def test_a_run_is_measured_at_every_checkpoint(flow: StudySubject, tmp_path: Path) -> None:
    report = study(flow, tmp_path, precisions=["float32", "bfloat16"], layers=False)
    assert [row["step"] for row in report.tables["Checkpoints"]] == [6, 12, 15, "saved"]
    assert "checkpoints.png" in report.figures
    assert all((tmp_path / name).is_file() for name in report.figures)
    assert errors(report, "bfloat16")["data"] > errors(report, "float32")["data"]
    latents = report.tables["Latents"][0]
    assert latents["bijection"] == "gy"
    assert latents["log-det error, float64"] < 1e-9 < latents["log-det error, float32"] < 1e-2
    assert math.isfinite(report.metrics["largest_gain"])
