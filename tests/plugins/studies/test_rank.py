"""The study rank: cut, or trained anew."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from linearizer_core.errors import ConfigError
from linearizer_core.factory import create_study
from linearizer_core.operators import Diagonal, Mask, ScaledIdentity
from linearizer_core.study import StudyReport, StudySubject
from linearizer_studies.rank import of_rank


def cut(subject: StudySubject, folder: Path, **options: object) -> StudyReport:
    report: StudyReport = create_study("rank", samples=100, examples=60, **options).run(subject, folder)
    return report


@pytest.mark.parametrize("kind", ["flow", "projector"])
def test_samples_and_reconstructions_lose_with_the_rank(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    report = cut(request.getfixturevalue(kind), tmp_path, ranks=[1, 3])
    rows = report.tables["By rank"]
    assert [row["rank"] for row in rows] == [1, 3, 6]
    assert rows[0]["PSNR, dB"] < rows[1]["PSNR, dB"] < rows[2]["PSNR, dB"]
    assert len({row["Frechet distance"] for row in rows}) == 3  # samples, too, are made by the operator that was cut
    assert set(report.figures) == {"frechet.png", "psnr.png", "reconstructions.png"}


def test_the_model_itself_stays_whole(projector: StudySubject, tmp_path: Path) -> None:
    before = projector.pretrained.sample(4, seed=0)
    cut(projector, tmp_path, ranks=[1])
    assert torch.equal(projector.pretrained.sample(4, seed=0), before)


def test_condition_number_and_cost_of_a_known_operator(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    report = cut(by_hand(Diagonal(torch.cat([torch.tensor([8.0, 4.0, 1.0]), torch.zeros(61)]))), tmp_path, ranks=[1, 2])
    rows = report.tables["By rank"]
    assert [row["cond of what is kept"] for row in rows] == pytest.approx([1, 2, 8])
    assert [row["bytes"] for row in rows] == [2 * 64 * 4, 2 * 2 * 64 * 4, 64 * 4]
    assert rows[0]["Frechet distance"] is None
    assert "No Frechet distances" in report.findings[0]


def test_what_has_no_rank_to_choose_is_refused(by_hand: Callable[..., StudySubject], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no singular triplets"):
        cut(by_hand(ScaledIdentity(0.0, 64)), tmp_path)


def test_a_model_for_each_rank_and_none_twice(flow: StudySubject, tmp_path: Path) -> None:
    with redirect_stdout(io.StringIO()) as out:
        report = cut(flow, tmp_path, mode="retrain", ranks=[2])
    assert out.getvalue() == ""  # what is printed there is for the study to say
    assert [row["rank"] for row in report.tables["By rank"]] == [2]
    trained = json.loads((tmp_path / "rank-2" / "model" / "config.json").read_text())["model"]["core"]
    assert trained == {"name": "gaussian", "rank": 2}
    logged = (tmp_path / "rank-2" / "metrics.jsonl").read_bytes()
    again = cut(flow, tmp_path, mode="retrain", ranks=[2])
    assert (tmp_path / "rank-2" / "metrics.jsonl").read_bytes() == logged
    assert again.tables["By rank"][0]["PSNR, dB"] == report.tables["By rank"][0]["PSNR, dB"]


def test_to_train_anew_needs_a_run_and_a_rank(by_hand: Callable[..., StudySubject], flow: StudySubject, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a run folder or a configuration"):
        cut(by_hand(Mask(torch.arange(64) < 5)), tmp_path, mode="retrain")
    with pytest.raises(ConfigError, match="has no option 'width', expected one of: basis and rank"):
        of_rank(flow.require_run("rank"), 3, "width", tmp_path)
