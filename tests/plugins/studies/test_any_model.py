"""Studies ask nothing of a model that their question does not need: vectors without labels, and maps between two spaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from linearizer_core.bijections import Bijection, Chain, ElementwiseAffine, FixedOrthogonal
from linearizer_core.data import DataInfo, Splits, TensorTable
from linearizer_core.factory import create_study
from linearizer_core.operators import Dense, Mask
from linearizer_core.study import StudySubject, write_study
from linearizer_studies.doctor import examine

OPTIONS = {
    "interpolation": {"pairs": 10, "points": 5},
    "invertibility": {"examples": 8, "searched": 2, "search_steps": 2, "layers": False},
    "rank": {"samples": 100, "examples": 10},
    "nullspace": {"examples": 20},
    "spectrum": {"examples": 20},
}


@pytest.fixture(scope="module")
def cloud(by_hand: Callable[..., StudySubject]) -> StudySubject:
    """A projector of unlabelled vectors."""
    tables = [TensorTable(x=torch.randn(30, 12, generator=torch.Generator().manual_seed(seed))) for seed in range(3)]
    g = Chain(FixedOrthogonal((12,), seed=0), ElementwiseAffine((12,)))
    return by_hand(Mask(torch.arange(12) < 4), g, data=Splits(DataInfo(name="cloud", shape=(12,)), *tables))


@pytest.fixture(scope="module")
def between(by_hand: Callable[..., StudySubject], rotation: Callable[..., Bijection]) -> StudySubject:
    """A map of images to images between two spaces."""
    matrix = torch.randn(64, 5, generator=torch.Generator().manual_seed(0)) @ torch.randn(5, 64, generator=torch.Generator().manual_seed(1)) / 64
    return by_hand(Dense(matrix), rotation(FixedOrthogonal((64,), seed=1)), gx=rotation())


@pytest.mark.parametrize("kind", ["cloud", "between"])
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_study_gives_numbers_and_sentences(name: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    subject = request.getfixturevalue(kind)
    report = create_study(name, **OPTIONS[name]).run(subject, tmp_path)
    assert report.metrics
    assert all(sentence.endswith(".") for sentence in report.findings)
    assert report.metrics.keys() - {"solvers"} <= report.notes.keys()
    assert {path.name for path in tmp_path.glob("*.png")} == set(report.figures)
    write_study(name, subject, report, tmp_path)
    assert json.loads((tmp_path / "study.json").read_text())["metrics"].keys() == report.metrics.keys()


@pytest.mark.parametrize("kind", ["cloud", "between"])
def test_the_check_up_too(kind: str, request: pytest.FixtureRequest) -> None:
    assert {signature.verdict for signature in examine(request.getfixturevalue(kind))} == {"ok", "does not apply"}
