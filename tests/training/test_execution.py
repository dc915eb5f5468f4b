"""Compiled conditioners and channels-last convolutions: the same training up to rounding, and a model that is afterwards as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from linearizer_core.bijections import Coupling, compiled
from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.data import Splits
from linearizer_core.errors import CheckpointError, CompilationWarning
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.model import LinearizerModel
from linearizer_core.training import fit, read_metrics
from linearizer_core.training.execution import executed_as

STEPS = 3


@pytest.fixture(scope="module")
def splits() -> Splits:
    loaded: Splits = create_dataset("digits").load()
    return loaded


def digits(splits: Splits, output: Path, **training: Any) -> tuple[LinearizerModel, list[float]]:
    """A few steps of one-step generation, and the losses of both stages."""
    stage = {"steps": STEPS, "batch_size": 16, "ema": 0.5}
    options = {"reconstruction": stage, "prior": {**stage, "backbone": {"name": "coupling", "dense": {"couplings": 2, "width": 8}, "class_scale": True}}}
    backbone = Component(name="coupling", levels=[{"couplings": 2, "width": 6}], dense={"couplings": 2, "width": 8})
    config = ModelConfig(task=Component(name="flow", latent_prior=options), backbone=backbone, core=Component(name="gaussian", rank=4))
    task, model = build_model(config, splits.info, seed=0)
    fit(task, model, splits, TrainingConfig.model_validate({"output": output, "log_every": 1, **training}))
    return model, [line["loss"] for line in read_metrics(output / "metrics.jsonl")]  # type: ignore[misc]


def kernels(model: nn.Module) -> list[Tensor]:
    return [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]


def is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def assert_alike(first: nn.Module, second: nn.Module) -> None:
    for name, tensor in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], tensor, rtol=0, atol=2e-3)


# --- layout --------------------------------------------------------------------------------------------


def test_convolutions_are_channels_last_while_they_train(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, expected = digits(splits, tmp_path / "plain")
    seen: list[list[bool]] = []
    forward = nn.Conv2d.forward

    def watch(self: nn.Conv2d, x: Tensor) -> Tensor:
        image = forward(self, x)
        seen.append([is_channels_last(self.weight) or self.in_channels == 1, is_channels_last(image)])
        return image

    monkeypatch.setattr(nn.Conv2d, "forward", watch)
    model, found = digits(splits, tmp_path / "last", channels_last=True)
    assert len(found) == 2 * STEPS
    assert len(seen) > 10
    assert all(all(each) for each in seen)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(expected), rtol=1e-4, atol=0)
    assert_alike(plain, model)
    assert all(kernel.is_contiguous() for kernel in kernels(model))


def test_nothing_else_changes_its_layout() -> None:
    config = TrainingConfig(output=Path("unused"), channels_last=True)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(2, 2))
    model.register_parameter("table", nn.Parameter(torch.randn(2, 3, 4, 5)))
    same = dict(model.named_parameters())
    with executed_as(config, model):
        assert is_channels_last(kernels(model)[0])
        assert model.get_parameter("table").is_contiguous()
        assert all(same[name] is parameter for name, parameter in model.named_parameters())
    with pytest.raises(RuntimeError, match="stop"), executed_as(config, model):
        raise RuntimeError("stop")
    assert kernels(model)[0].is_contiguous()


@pytest.mark.parametrize("step", [2, 4])
def test_resume_gives_the_bits_of_the_uninterrupted_run(step: int, splits: Splits, tmp_path: Path) -> None:
    """Files hold moments and averages row by row; they must come back in the layout of their weights."""
    whole, _ = digits(splits, tmp_path / "whole", channels_last=True)
    digits(splits, tmp_path / "parts", channels_last=True, checkpoint_every=1, keep_checkpoints=9)
    for folder in (tmp_path / "parts" / "checkpoints").glob("0*"):
        if int(folder.name) > step:
            shutil.rmtree(folder)
    resumed, _ = digits(splits, tmp_path / "parts", channels_last=True)
    assert all(torch.equal(tensor, resumed.state_dict()[name]) for name, tensor in whole.state_dict().items())
    assert (tmp_path / "parts" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("option", ["channels_last", "compile"])
def test_it_belongs_to_the_run(option: str, splits: Splits, tmp_path: Path) -> None:
    digits(splits, tmp_path)
    with pytest.raises(CheckpointError, match=f"belongs to another run: {option}: False -> True"):
        digits(splits, tmp_path, **{option: True})


# --- compilation ----------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch looks at all inputs of a graph
def test_conditioners_are_compiled_while_they_train(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[fx.GraphModule] = []

    def record(graph: fx.GraphModule, inputs: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "_compile", record)
    torch.compiler.reset()
    plain, expected = digits(splits, tmp_path / "plain")
    assert not graphs
    model, found = digits(splits, tmp_path / "compiled", compile=True)
    assert graphs
    assert found == expected
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in plain.state_dict().items())
    assert not [module for module in model.modules() if module._compiled_call_impl is not None]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_training_goes_on_where_nothing_can_be_compiled(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(graph: fx.GraphModule, inputs: list[Any]) -> Any:
        raise OSError("no compiler in sight")

    monkeypatch.setattr(compiled, "_compile", fail)
    torch.compiler.reset()
    plain, expected = digits(splits, tmp_path / "plain")
    with pytest.warns(CompilationWarning, match=r"conditioners are not compiled, and run as they are: OSError: no compiler in sight") as warned:
        model, found = digits(splits, tmp_path / "compiled", compile=True)
    assert len([warning for warning in warned if warning.category is CompilationWarning]) == 1
    assert found == expected
    assert len([module for module in model.modules() if isinstance(module, Coupling)]) == 6
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in plain.state_dict().items())
