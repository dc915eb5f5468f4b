"""Training that begins with the prior, on the bijection of another run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from linearizer_core.config import RunConfig
from linearizer_core.config_file import load_config
from linearizer_core.errors import ConfigError
from linearizer_core.pretrained import Pretrained
from linearizer_core.training.run import train
from registry.gpu.jobs import ROOT
from registry.refit_prior import refit_prior

SMALL = (
    "task.latent_prior.reconstruction.steps=6",
    "task.latent_prior.prior.steps=4",
    "task.evaluation.samples=100",
    "backbone.levels=[{couplings=2, width=8}]",
    "backbone.dense={couplings=2, width=16}",
    "training.log_every=2",
    "training.threads=1",
)


def config(folder: Path, *overrides: str) -> RunConfig:
    return load_config(ROOT / "configs" / "quickstart.toml", [*SMALL, f"training.output={folder}", *overrides])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refit") / "run"
    train(config(folder))
    return folder


def test_it_ends_with_the_bits_of_a_run_that_trained_everything(run: Path, tmp_path: Path) -> None:
    other = ("task.latent_prior.condition=cluster", "task.latent_prior.clusters=5", "task.latent_prior.prior.steps=8")
    train(config(tmp_path / "whole", *other))
    refitted = refit_prior(run, config(tmp_path / "refitted", *other)).output
    whole, mine = (Pretrained.from_pretrained(tmp_path / name / "model").model.state_dict() for name in ("whole", "refitted"))
    assert all(torch.equal(whole[name], mine[name]) for name in whole)
    logs = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()] for name in ("whole", "refitted")]
    assert [(line["step"], line["stage"], line["loss"]) for line in logs[0]] == [(line["step"], line["stage"], line["loss"]) for line in logs[1]]
    before, after = (json.loads((folder / "run.json").read_text()) for folder in (run, refitted))
    assert after["seconds"]["reconstruction"] == before["seconds"]["reconstruction"]
    assert after["hardware"]["name"] == f"{before['hardware']['name']} for the reconstruction, {before['hardware']['name']} for the prior"


def test_a_bijection_that_was_trained_again_later_is_refused(run: Path, tmp_path: Path) -> None:
    facts = json.loads((run / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**facts, "seconds": {**facts["seconds"], "adversarial": 1.0}}))
    with pytest.raises(ConfigError, match="had the stages reconstruction, prior, adversarial; give a run of reconstruction and prior alone"):
        refit_prior(tmp_path, config(tmp_path / "run"))


@pytest.mark.parametrize(
    ("override", "message"), [("task.latent_prior.reconstruction.steps=7", "stage differ"), ("core.rank=12", "core differ"), ("training.seed=1", "seed differ")]
)
def test_another_bijection_is_refused(run: Path, tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        refit_prior(run, config(tmp_path / "run", override))
    assert not (tmp_path / "run").exists()
