"""Small saved models, and a demo that is really served."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.examples import EXAMPLES, draw_examples
from linearizer_demo.engine import DemoEngine

from .things import Everything, Never

ROOT = Path(__file__).parents[3]
DENSE = {"couplings": 2, "width": 6}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of two grey models of the same shape, with examples, and of a colour one without: ``first``, ``second``, ``colour``."""
    folder = tmp_path_factory.mktemp("saved")
    return {name: f"local-dir:{_save(folder / name, channels, seed)}" for name, channels, seed in (("first", 1, 1), ("second", 1, 2), ("colour", 3, 3))}


@pytest.fixture(scope="session")
def engine(saved: dict[str, str]) -> DemoEngine:
    return DemoEngine(list(saved.values()), tabs={"everything": Everything(), "never": Never()})


@dataclass(frozen=True)
class Served:
    """A demo that runs in a process of its own."""

    address: str
    process: psutil.Process


@pytest.fixture(scope="session")
def served(saved: dict[str, str]) -> Iterator[Served]:
    with subprocess.Popen([sys.executable, "-m", "tests.plugins.demo.serve", *saved.values()], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Served(process.stdout.readline().strip(), psutil.Process(process.pid))
        finally:
            process.terminate()


def _save(folder: Path, channels: int, seed: int) -> Path:
    config = ModelConfig(
        task=Component(name="flow", latent_prior={"prior": {"backbone": {"name": "coupling", "dense": DENSE}}}),
        backbone=Component(name="coupling", levels=[], dense=DENSE),
        core=Component(name="gaussian", rank=4),
    )
    info = DataInfo(name="squares", shape=(channels, 4, 4), classes=3)
    task, model = build_model(config, info)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    examples = {EXAMPLES: draw_examples(torch.rand(8, 1, 4, 4, generator=generator))} if channels == 1 else {}
    made = Pretrained(task, model.eval(), ArtifactConfig(model=config, data=info), {}, task.collapsed(model), pictures=examples)
    return made.save_pretrained(folder)
