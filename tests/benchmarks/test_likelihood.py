"""The flow trained by likelihood, at miniature size."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from benchmarks.likelihood import bits, flow_of_size, learning_rate, main
from linearizer_core.condition import Condition
from linearizer_core.config_file import load_config
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model

CONFIG = """
data = { name = "npz" }
backbone = { name = "coupling", levels = [{ couplings = 2, width = 8 }, { couplings = 2, width = 8 }], dense = { couplings = 0 } }
core = { name = "gaussian", rank = 8 }
training = { output = "runs/miniature" }
[task]
name = "flow"
latent_prior = { prior = { backbone = { name = "coupling", dense = { couplings = 2, width = 64 }, class_scale = true } } }
"""
INFO = DataInfo(name="colours", shape=(3, 8, 8), classes=3)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "miniature.toml"
    path.write_text(CONFIG)
    return path


def test_it_is_no_smaller_than_the_model_beside_it(config: Path) -> None:
    loaded = load_config(config, ["data.root=nowhere"])
    _, model = build_model(loaded.model, INFO, 0)
    size, found = (sum(parameter.numel() for parameter in each.parameters()) for each in (model, flow_of_size(loaded, INFO)))
    assert size <= found < 1.2 * size


def test_bits_of_an_identity_are_those_of_a_gaussian(config: Path) -> None:
    flow = flow_of_size(load_config(config, ["data.root=nowhere"]), INFO)
    x, label = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0])
    first = bits(flow, x, label, torch.Generator().manual_seed(1)).detach()
    noisy = (255 * x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1))) / 256
    z, logdet = flow.forward_and_logdet(noisy, Condition(label=label))
    density = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1) + logdet
    torch.testing.assert_close(first, (8 - density / (192 * math.log(2))).detach())


def test_the_rate_follows_the_clock() -> None:
    assert learning_rate(0.0, 0) == pytest.approx(1e-3 / 200)
    assert learning_rate(0.2, 1000) == pytest.approx(1e-3)
    assert learning_rate(1.0, 1000) == pytest.approx(5e-6)


@pytest.mark.slow
def test_a_miniature_is_trained_and_measured(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINEARIZER_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for split, count in (("train", 60), ("test", 30)):
        images = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        np.savez(tmp_path / f"{split}.npz", images=images, labels=np.arange(count) % 3)
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict().items()}, weights)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report.json").write_text('{"frechet_one_step": 1.0, "run": {"steps": 7}}')
    out = tmp_path / "out" / "likelihood"
    arguments = ["--weights", str(weights), "--seconds", "1", "--samples", "20", "--batch", "8", "--beside", str(tmp_path / "run"), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["likelihood", str(config), str(tmp_path), *arguments])
    main()
    result = json.loads(out.with_suffix(".json").read_text())
    assert result["one_step"] == {"frechet_one_step": 1.0, "run": {"steps": 7}}
    assert "| steps | 7 |" in out.with_suffix(".md").read_text()
    found = result["likelihood"]
    assert found["steps"] > 1
    assert found["invertibility_max_abs_err"] < 1e-4
    assert {"frechet_one_step", "pretrained_frechet_one_step", "pretrained_frechet_one_step_at_temperature_0.9", "label_agreement"} <= found.keys()
    assert (tmp_path / "out" / "likelihood_1.0.png").exists()
