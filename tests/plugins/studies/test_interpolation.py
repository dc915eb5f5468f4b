"""The study interpolation: the two kinds of line are the same where g is linear, and not where it is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Chain, ElementwiseAffine, Flatten
from linearizer_core.condition import Condition
from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.factory import create_study
from linearizer_core.operators import Mask
from linearizer_core.study import StudyReport, StudySubject
from linearizer_studies.interpolation import INDUCED, KEPT, PIXELS

ALL = Mask(torch.ones(64, dtype=torch.bool))


def study(subject: StudySubject, folder: Path, **options: object) -> StudyReport:
    report: StudyReport = create_study("interpolation", **{"pairs": 40, "points": 5, **options}).run(subject, folder)
    return report


def test_lines_of_a_linear_g_are_lines_of_pixels(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = study(by_hand(ALL), tmp_path)
    rows = {row["line"]: row for row in report.tables["Lines"]}
    for name, value in rows[PIXELS].items():
        if name != "line":
            assert rows[INDUCED][name] == pytest.approx(value, rel=1e-3, abs=1e-5)
    assert rows[PIXELS]["detour, pixels"] == pytest.approx(1, abs=1e-5)
    assert rows[PIXELS]["detour, features"] > 1
    assert rows[PIXELS]["confidence at the middle"] < 1
    assert report.metrics["largest_end_error"] < 1e-5


class Sinh(Bijection):
    """z = sinh(3 x), for each pixel."""

    def __init__(self) -> None:
        super().__init__((64,))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return (3 * x).sinh()

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z.asinh() / 3


def test_lines_of_a_bent_g_are_bent(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = study(by_hand(ALL, Chain(Flatten((1, 8, 8)), Sinh())), tmp_path)
    rows = {row["line"]: row for row in report.tables["Lines"]}
    assert rows[INDUCED]["detour, pixels"] > 1.01
    assert rows[INDUCED]["bend, pixels"] > 0.1
    assert rows[INDUCED]["Frechet distance of middles"] != pytest.approx(rows[PIXELS]["Frechet distance of middles"], rel=0.01)
    assert report.metrics["largest_end_error"] < 1e-5


def test_examples_of_all_categories_meet(flow: StudySubject, tmp_path: Path) -> None:
    report = study(flow, tmp_path)
    rows = {row["line"]: row for row in report.tables["Lines"]}
    assert set(rows) == {PIXELS, INDUCED, KEPT}
    assert report.metrics["largest_end_error"] < 1e-5
    assert report.metrics["pairs"] == 40
    assert set(report.figures) == {"lines.png", "confidence.png"}


def test_pairs_are_of_different_classes(by_hand: Callable[..., StudySubject], splits: Splits, tmp_path: Path) -> None:
    test = stack(splits.test)
    ones = test["label"] == 1
    same = TensorTable(x=test["x"][ones], label=test["label"][ones])
    mixed = TensorTable(x=torch.cat([test["x"][ones], test["x"][test["label"] == 0][:1]]), label=torch.cat([test["label"][ones], torch.tensor([0])]))
    subject = by_hand(ALL, data=Splits(splits.info, splits.train, splits.validation, mixed))
    assert 0 < study(subject, tmp_path, pairs=len(mixed)).metrics["pairs"] < 10  # the one zero is at an end of all of them
    assert len(same) > 20


def test_without_labels_nothing_is_judged(by_hand: Callable[..., StudySubject], splits: Splits, tmp_path: Path) -> None:
    plain = {name: TensorTable(x=stack(getattr(splits, name))["x"]) for name in ("train", "validation", "test")}
    report = study(by_hand(ALL, data=Splits(DataInfo(name="plain", shape=(1, 8, 8)), **plain)), tmp_path)
    assert any("the data have no labels" in sentence for sentence in report.findings)
    assert "Frechet distance of middles" not in report.tables["Lines"][0]
    assert report.figures == ("lines.png",)


def test_vectors_have_no_pictures(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    tables = [TensorTable(x=torch.randn(30, 64, generator=torch.Generator().manual_seed(seed)), label=torch.arange(30) % 2) for seed in range(3)]
    subject = by_hand(ALL, Chain(ElementwiseAffine((64,))), data=Splits(DataInfo(name="cloud", shape=(64,), classes=2), *tables))
    report = study(subject, tmp_path)
    assert report.figures == ()
    assert any("the data have no images" in sentence for sentence in report.findings)
