"""The configuration for CelebA at 64x64: its size, and that it trains, from JPEG files in CelebA's layout to a report. No face is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from linearizer_core import load_config
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.pretrained import load
from linearizer_core.training import read_metrics, train
from linearizer_datasets.config import PrepareConfig
from linearizer_datasets.prepare import prepare
from tests.plugins.faces import write_faces

CONFIG = Path(__file__).parents[2] / "configs" / "flow_celeba64.toml"


def test_it_has_at_most_twenty_million_parameters() -> None:
    config = load_config(CONFIG, ["data.root=celeba64"])
    _, model = build_model(config.model, DataInfo(name="celeba64", shape=(3, 64, 64)), config.training.seed)
    assert 15_000_000 < sum(parameter.numel() for parameter in model.parameters()) <= 20_000_000


def test_it_trains_from_files_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    faces = write_faces(tmp_path / "celeba")
    prepare(faces / "img_align_celeba", tmp_path / "celeba64", PrepareConfig(crop=140, split=faces / "list_eval_partition.txt"))
    torch.manual_seed(0)
    weights = tmp_path / "efficientnet_lite0.safetensors"
    save_file({name: value.contiguous() for name, value in timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict().items()}, weights)
    few = {"reconstruction": 8, "prior": 16, "adversarial": 4}
    overrides = [
        f"data.root={tmp_path / 'celeba64'}",
        f"training.output={tmp_path / 'run'}",
        f"task.latent_prior.perceptual.weights={weights}",
        "task.evaluation.features=none",
        "task.sampling.steps=3",
        "task.latent_prior.clusters=4",
        *(f"task.latent_prior.{stage}.{key}={value}" for stage, size in few.items() for key, value in (("steps", 2), ("batch_size", size))),
        "backbone.levels=[{couplings=2, width=8}, {couplings=2, width=8}]",
        "core.rank=16",
        "training.mixed_precision=no",
        "training.num_workers=0",
        "training.threads=1",
        "training.log_every=1",
        "training.sample_every=0",
    ]
    summary = train(load_config(CONFIG, overrides))
    assert [line["stage"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")] == [stage for stage in few for _ in range(2)]
    assert summary.report is not None
    assert summary.report.metrics["rank"] == 16
    assert load(f"local-dir:{tmp_path / 'run' / 'model'}").sample(2, seed=0).shape == (2, 3, 64, 64)
