"""A model that is made and loaded in milliseconds, with every file that an artifact may have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from linearizer_core.config import CollapseConfig, Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig, Hardware, TrainingRecord

INFO = DataInfo(name="squares", shape=(1, 2, 2), classes=3)
MODEL = ModelConfig(
    task=Component(name="flow", recipe="published"),
    backbone=Component(name="coupling", levels=[], dense={"couplings": 1, "width": 2, "depth": 0}, norm="none", final_mixing=False),
    core=Component(name="shared_subspace", rank=1, width=2, frequencies=1),
)
RECORD = TrainingRecord(
    data={"name": "squares", "root": "squares"},
    training={"output": "runs/squares", "seed": 7, "threads": None},
    steps=30,
    seconds={"flow": 12.34567},
    mixed_precision="no",
    processes=1,
    hardware=Hardware(device="cpu", name="x86_64", cpu_cores=2, threads=2),
    versions={"linearizer": "0.1.0", "torch": "2.6.0"},
)
METRICS: dict[str, Any] = {"frechet_one_step": 31.23456, "invertibility_max_abs_err": 1e-06, "features": "squares-classifier", "nested": {"hidden": 1}}
NOTES = {"samples.png": "the same noise, in one step and in many", "frechet_one_step": "one-step samples against test images"}
LOG = tuple(
    {"step": k, "stage": "flow", "stage_step": k, "lr": 0.1, "loss": None if k == 20 else 1.5 / k, "grad_norm": 0.25, "energy": -0.5, "monitor_collisions": 3}
    for k in (10, 20, 30)
)
PICTURE = b"\x89PNG\r\n\x1a\n"


def small(metrics: dict[str, Any] | None = None, notes: dict[str, str] | None = None, *, info: DataInfo = INFO) -> Pretrained:
    """A flow with its collapse, metrics, notes, training log and two pictures."""
    task, model = build_model(MODEL, info)
    config = ArtifactConfig(model=MODEL, data=info, seed=7, commit="abc", training=RECORD)
    made = Pretrained(task, model.eval(), config).collapsed(CollapseConfig(steps=5, solver="euler"))
    with torch.no_grad():
        return replace(
            made,
            metrics=METRICS if metrics is None else metrics,
            notes=NOTES if notes is None else notes,
            log=LOG,
            pictures={**made.pictures, "samples.png": PICTURE},
        )
