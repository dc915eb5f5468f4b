"""Another prior on the bijection of a trained model: what is taken over, what is trained, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from linearizer_core.config import RunConfig
from linearizer_core.data import stack
from linearizer_core.errors import ArtifactError, ConfigError
from linearizer_core.factory import create_dataset
from linearizer_core.pretrained import Pretrained, load
from linearizer_core.training.run import train
from linearizer_flow.latent_prior import latent_prior_of

SOURCE = "flow.digits"
PRIOR = {"steps": 20, "batch_size": 64, "backbone": {"name": "coupling", "dense": {"couplings": 2, "width": 16}, "class_scale": True, "final_mixing": False}}


def config(folder: Path, bijection: str = SOURCE, *, core: dict[str, Any] | None = None, backbone: dict[str, Any] | None = None, **recipe: Any) -> RunConfig:
    """A run on the backbone of the shipped digits, but for what is given."""
    shipped = load(SOURCE).config.model.model_dump()
    options = {"condition": "cluster", "clusters": 7, "bijection": bijection, "prior": PRIOR, **recipe}
    return RunConfig.model_validate(
        {
            "data": {"name": "digits"},
            "task": {"name": "flow", "latent_prior": options, "evaluation": {"samples": 100}},
            "backbone": {**shipped["backbone"], **(backbone or {})},
            "core": {**shipped["core"], **(core or {})},
            "training": {"output": str(folder), "checkpoint_every": 8, "threads": 1},
        }
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adopted") / "run"
    train(config(folder))
    return folder


def test_g_is_the_one_named_to_the_bit_and_the_prior_alone_is_trained(run: Path) -> None:
    made, source = latent_prior_of(Pretrained.from_pretrained(run / "model").model), latent_prior_of(load(SOURCE).model)
    own, theirs = made.body.state_dict(), source.body.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"prior"}
    assert lines[-1]["step"] == PRIOR["steps"]
    assert made.conditions == {"cluster": 7}
    with torch.no_grad():
        white = made.whiten(made.kept(stack(create_dataset("digits").load().test, 50)["x"]))
    assert 0.5 < float(white.std()) < 2
    assert len(torch.unique(made.categories.of(white, None))) > 3


def test_neither_the_saved_model_nor_training_that_goes_on_needs_the_other_any_more(run: Path, tmp_path: Path) -> None:
    copy, output = tmp_path / "source", tmp_path / "run"
    load(SOURCE).save_pretrained(copy)
    started = config(output, f"local-dir:{copy}")
    train(started)
    shutil.rmtree(copy)
    alone = Pretrained.from_pretrained(output / "model").sample(4, seed=0)
    assert torch.equal(alone, Pretrained.from_pretrained(run / "model").sample(4, seed=0))
    shutil.rmtree(output / "checkpoints" / f"{PRIOR['steps']:06d}")  # as if it had been killed after the checkpoint before
    shutil.rmtree(output / "model")
    train(started)
    assert torch.equal(alone, Pretrained.from_pretrained(output / "model").sample(4, seed=0))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"core": {"rank": 12}}, "keeps 16 coordinates, this model 12; set core.rank = 16"),
        ({"backbone": {"dense": {"couplings": 8, "width": 64}}}, "weights differ in name or shape; give the same"),
        ({"backbone": {"log_scale_bound": 0.3}}, "other options: its latents of training examples are not those of this backbone"),
        ({"bijection": "ign.digits"}, "'ign.digits' has no bijection with a prior; name a model that task.recipe = 'latent_prior' trained"),
    ],
)
def test_another_bijection_is_refused(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        train(config(tmp_path / "run", **changed))


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"'flow\.nothing'.*linearizer list pretrained"):
        train(config(tmp_path / "run", "flow.nothing"))


def test_g_is_either_named_or_trained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"latent_prior = .*: bijection = 'flow\.digits' is taken as it is, and reconstruction would train it"):
        train(config(tmp_path / "run", reconstruction={"steps": 5}))
