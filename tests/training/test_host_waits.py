"""Between two lines of the log the host never waits for the device: a GPU always has the next step queued.

On the CPU nothing waits; there the operations are counted that would on a GPU: those that hand a number of a tensor to Python.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import LikelihoodStage, TinyTask, stage_config, tiny_model, tiny_splits, training_config
from torch.utils._python_dispatch import TorchDispatchMode

from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.training import fit
from linearizer_core.training.loop import _Fit

READS = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "unique", "masked_select", "_assert_async"}
LOADER = {"_local_scalar_dense": 1}
"""The first step of a stage starts its loader, which draws its seed on the CPU."""


class Reads(TorchDispatchMode):
    """Counts the operations whose result, or its size, Python has to know."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        self.operations += 1
        if name in READS:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Reads]:
    """What each step did, one entry for each."""
    done: list[Reads] = []
    step = _Fit._step

    def watched(self: _Fit, *args: Any) -> None:
        with Reads() as reads:
            step(self, *args)
        done.append(reads)

    monkeypatch.setattr(_Fit, "_step", watched)
    return done


OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"clip_norm": 0.5, "ema": 0.9, "warmup_steps": 2}, {}),
    ({"optimizer": {"name": "adam", "lr": 1e-2, "weight_decay": 0.1}}, {"accumulation_steps": 2}),
    ({"lipschitz": {"every": 2}}, {}),
    ({}, {"reversible": {"anchor_every": 2}}),
    ({}, {"mixed_precision": "bf16"}),
]


@pytest.mark.parametrize(("stage", "training"), OPTIONS, ids=str)
def test_no_step_reads_a_number(stage: dict[str, Any], training: dict[str, Any], steps: list[Reads], tmp_path: Path) -> None:
    task = TinyTask(LikelihoodStage("one", stage_config(**stage)))
    fit(task, tiny_model(), tiny_splits(), training_config(tmp_path, log_every=3, **training))
    assert len(steps) == 6
    assert min(reads.operations for reads in steps) > 30
    assert [dict(reads.found) for reads in steps] == [LOADER, *[{}] * 5]


@pytest.mark.parametrize(("recipe", "core"), [("latent_prior", "gaussian"), ("published", "low_rank"), ("published", "shared_subspace")])
@pytest.mark.parametrize("condition", ["none", "label"])
def test_no_step_of_a_flow_reads_a_number(recipe: str, core: str, condition: str, steps: list[Reads], tmp_path: Path) -> None:
    stage = {"steps": 3, "batch_size": 8}
    prior = {**stage, "backbone": {"name": "coupling", "dense": {"couplings": 2, "width": 8}, "class_scale": condition == "label"}}
    options = {"latent_prior": {"condition": condition, "reconstruction": stage, "prior": prior}, "published": {"training": stage}}
    backbone = Component(name="coupling", levels=[{"couplings": 2, "width": 4}], dense={"couplings": 2, "width": 8})
    config = ModelConfig(task=Component(name="flow", recipe=recipe, **options), backbone=backbone, core=Component(name=core, rank=4))
    splits = create_dataset("digits").load()
    task, model = build_model(config, splits.info, seed=0)
    fit(task, model, splits, TrainingConfig(output=tmp_path, log_every=100))
    assert len(steps) == (6 if recipe == "latent_prior" else 3)
    # On the CPU, where it costs nothing, the range of labels is checked: smallest and largest, once a step.
    labels = 2 if condition == "label" else 0
    found = [reads.found["_local_scalar_dense"] for reads in steps]
    assert found == ([1, 0, 0, 1 + labels, labels, labels] if recipe == "latent_prior" else [1, 0, 0])
    assert not [reads for reads in steps if set(reads.found) - {"_local_scalar_dense"}]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_no_step_waits_for_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    step = _Fit._step

    def watched(self: _Fit, *args: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(self, *args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(_Fit, "_step", watched)
    task = TinyTask(LikelihoodStage("one", stage_config(clip_norm=0.5, ema=0.9)))
    fit(task, tiny_model(), tiny_splits(), training_config(tmp_path, log_every=3))
