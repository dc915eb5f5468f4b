"""Memory-saving backpropagation in a run: the flow task trains with it, and the monitor bears it."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from tiny_training import run_tiny, two_stages

from linearizer_core.bijections import Chain
from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.model import LinearizerModel
from linearizer_core.training import fit, read_metrics

STAGE = {"steps": 6, "batch_size": 32, "warmup_steps": 2}


def flow_task(output: Path, **training: object) -> tuple[LinearizerModel, list[float]]:
    """Both stages of the recommended recipe: the model, and its losses."""
    options = {"condition": "label", "reconstruction": STAGE, "prior": {**STAGE, "backbone": {"name": "coupling", "dense": {"couplings": 4, "width": 16}}}}
    backbone = {"levels": [{"couplings": 2, "width": 8}], "dense": {"couplings": 2, "width": 32}, "norm": "actnorm"}
    config = ModelConfig(
        task=Component(name="flow", latent_prior=options), backbone=Component(name="coupling", **backbone), core=Component(name="gaussian", rank=12)
    )
    task, model = build_model(config, DataInfo(name="digits", shape=(1, 8, 8), classes=10), seed=0)
    fit(task, model, create_dataset("digits").load(), TrainingConfig.model_validate({"output": output, "log_every": 1, **training}))
    return model, [line["loss"] for line in read_metrics(output / "metrics.jsonl")]


def test_the_flow_task_trains_as_with_stored_activations(tmp_path: Path) -> None:
    plain, expected = flow_task(tmp_path / "plain")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        saving, found = flow_task(tmp_path / "saving", reversible={"anchor_every": 100, "check_every": 1, "tolerance": 1e-4})
    assert len(expected) == 12
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=0)
    assert not any(member.reversible for member in saving.modules() if isinstance(member, Chain))
    for name, tensor in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], tensor, rtol=0, atol=1e-4)


def test_it_trains_the_same_in_micro_batches(tmp_path: Path) -> None:
    _, expected = flow_task(tmp_path / "plain", accumulation_steps=2)
    _, found = flow_task(tmp_path / "saving", accumulation_steps=2, reversible={})
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-5, atol=0)


def test_the_monitor_measures_the_same(tmp_path: Path) -> None:
    """It differentiates twice where it can, which memory-saving chains refuse."""
    monitored = {}
    for name, options in (("plain", {}), ("saving", {"reversible": {}})):
        run_tiny(tmp_path / name, two_stages(), monitor={"every": 4, "examples": 8, "gain_limit": 1e9}, **options)
        lines = read_metrics(tmp_path / name / "metrics.jsonl")
        monitored[name] = [line["monitor_gain"] for line in lines if "monitor_gain" in line]
    assert len(monitored["plain"]) == 3
    torch.testing.assert_close(torch.tensor(monitored["saving"]), torch.tensor(monitored["plain"]), rtol=1e-2, atol=0)
