"""The catalog: every model in it loads, samples and says what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from linearizer_core import plugins
from linearizer_core.pretrained import load

REGISTRY = Path(__file__).parent.parent / "registry" / "linearizer_registry" / "linearizer_registry" / "models"
LARGEST = 40 * 2**20


def test_every_folder_is_registered_and_small_enough() -> None:
    registered = {name: spec.folder() for name, spec in plugins.specs("pretrained").items()}
    assert {folder.name: folder for folder in REGISTRY.iterdir()} == registered
    sizes = [sum(path.stat().st_size for path in folder.iterdir()) for folder in registered.values()]
    assert max(sizes) < LARGEST
    assert sum(sizes) < 3 * LARGEST


@pytest.mark.parametrize("name", sorted(path.name for path in REGISTRY.iterdir()))
def test_a_model_of_the_catalog(name: str) -> None:
    pretrained = load(name)
    assert pretrained.metrics
    assert "## Measured" in (plugins.find("pretrained", name).folder() / "README.md").read_text(encoding="utf-8")
    samples = pretrained.sample(4, seed=1)
    assert samples.shape == (4, *pretrained.config.data.shape)
    assert torch.equal(samples, pretrained.sample(4, seed=1))
    assert 0.1 < float(samples.clamp(0, 1).std()) < 0.5
