"""The catalog: every model in it loads without a network, does what its task does, and says what was measured."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from benchmarks.registry_table import FIGURES, registry_table
from linearizer_core import plugins
from linearizer_core.errors import ArtifactError, ConfigError, NoSamplesError
from linearizer_core.figures.images import is_image
from linearizer_core.pretrained import Pretrained, load
from registry import add_log as add_log_module
from registry.add_log import add_log

REGISTRY = Path(__file__).parent.parent / "registry" / "linearizer_registry" / "linearizer_registry" / "models"
NAMES = sorted(path.name for path in REGISTRY.iterdir())
LARGEST = 40 * 2**20
LARGEST_OF_DIGITS = 10 * 2**20


def test_every_folder_is_registered_and_small_enough() -> None:
    registered = {name: spec.folder() for name, spec in plugins.specs("pretrained").items()}
    assert {folder.name: folder for folder in REGISTRY.iterdir()} == registered
    sizes = {name: sum(path.stat().st_size for path in folder.iterdir()) for name, folder in registered.items()}
    assert max(sizes.values()) < LARGEST
    assert sum(sizes.values()) < 3 * LARGEST
    assert max(size for name, size in sizes.items() if "digits" in name or "mnist" in name) < LARGEST_OF_DIGITS


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_catalog(name: str) -> None:
    pretrained = load(name)
    folder, shape = plugins.find("pretrained", name).folder(), pretrained.config.data.shape
    assert pretrained.metrics["parameters"] == sum(parameter.numel() for parameter in pretrained.model.parameters())
    assert pretrained.notes.keys() <= {*pretrained.metrics, *pretrained.pictures}
    assert pretrained.config.training is not None
    assert pretrained.log[-1]["step"] == pretrained.config.training.steps
    assert {line["stage"] for line in pretrained.log} == pretrained.config.training.seconds.keys()
    assert "](training.png)" in (folder / "README.md").read_text(encoding="utf-8")
    assert f'"{name}"' in (folder / "README.md").read_text(encoding="utf-8")
    examples = pretrained.examples()
    assert (examples is not None) == is_image(shape)
    assert works(pretrained)


def works(pretrained: Pretrained) -> bool:
    """Samples differ from one another and come back for the same seed; a model that draws none takes its examples through g and back."""
    try:
        samples = pretrained.sample(4, seed=1)
    except NoSamplesError:
        g = pretrained.model.gx
        x = pretrained.examples()
        x = torch.rand(4, *g.in_shape, generator=torch.Generator().manual_seed(0)) if x is None or x.shape[1:] != g.in_shape else x
        with torch.no_grad():
            return float((g.inverse(g(x)) - x).abs().max()) < 1e-4
    again = pretrained.sample(4, seed=1)
    return samples.shape == (4, *pretrained.config.data.shape) and torch.equal(samples, again) and 0.1 < float(samples.clamp(0, 1).std()) < 0.5


def test_the_table_tells_something_of_each_model() -> None:
    rows = registry_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == NAMES
    assert {name.partition(".")[0] for name in NAMES} <= FIGURES.keys()
    assert all(row.rstrip("| ").rpartition("|")[2].strip() for row in rows)


def test_a_log_is_added_to_the_model_of_its_run_and_to_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, run = "dynamics.slow-manifold", tmp_path / "run"
    folder = shutil.copytree(REGISTRY / name, tmp_path / name)
    monkeypatch.setattr(add_log_module, "MODELS", tmp_path)
    record = load(name).config.training
    assert record is not None
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"steps": record.steps, "seconds": record.seconds}))
    with pytest.raises(ArtifactError, match=r"metrics\.jsonl is missing"):
        add_log(run, name)
    (folder / "training.jsonl").rename(run / "metrics.jsonl")
    (folder / "training.png").unlink()
    add_log(run, name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    for facts, kept in (({"steps": record.steps, "seconds": {"dynamics": 1.0}}, lines), ({"steps": record.steps, "seconds": record.seconds}, lines[:-1])):
        (run / "run.json").write_text(json.dumps(facts))
        (run / "metrics.jsonl").write_text("".join(kept))
        with pytest.raises(ConfigError, match=f"{name} was trained in .*; give its run"):
            add_log(run, name)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
