"""A run from configuration to report, and what it refuses before it touches a device."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import TinyTask, tiny_model, tiny_splits, two_stages

from linearizer_core.config import ModelConfig, RunConfig
from linearizer_core.data import DataInfo, DataSource, Splits
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Report
from linearizer_core.training import finish as finish_module
from linearizer_core.training import read_metrics, train
from linearizer_core.training import run as run_module


class TinySource(DataSource):
    def load(self) -> Splits:
        return tiny_splits()


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Components made from the tiny task instead of plugins; records whether a device was asked for, and what was saved."""
    events: list[str] = []
    make_accelerator = run_module.make_accelerator

    def build_model(config: ModelConfig, info: DataInfo, seed: int = 0) -> tuple[TinyTask, LinearizerModel]:
        return two_stages(), tiny_model(seed)

    def recorded(*arguments: Any) -> Any:
        events.append("device")
        return make_accelerator(*arguments)

    def save_pretrained(self: Any, folder: Path) -> Path:
        events.append(f"saved with {sorted(self.metrics)}")
        return folder

    monkeypatch.setattr(run_module, "create_dataset", lambda name, **options: TinySource())
    monkeypatch.setattr(run_module, "build_model", build_model)
    monkeypatch.setattr(run_module, "make_accelerator", recorded)
    monkeypatch.setattr(finish_module.Pretrained, "save_pretrained", save_pretrained)
    return events


def config(output: Path, *, data: dict[str, Any] | None = None, **training: Any) -> RunConfig:
    parts = {part: {"name": "tiny"} for part in ("task", "backbone", "core", "data")}
    parts["data"] |= data or {}
    return RunConfig.model_validate({**parts, "training": {"output": output, "log_every": 3, **training}})


def test_run_leaves_a_complete_folder(tmp_path: Path, touched: list[str]) -> None:
    summary = train(config(tmp_path / "run"))
    assert summary.report == Report({"center": pytest.approx([2.0, 2.5], abs=1.0), "worst": float("inf")})
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["parameters"] == sum(parameter.numel() for parameter in tiny_model().parameters())
    assert run["seconds"].keys() == {"rough", "fine"}
    assert (run["processes"], run["steps"], run["seed"], run["resumed_from"]) == (1, 12, 0, None)
    assert run["versions"]["torch"] == torch.__version__
    assert run["hardware"]["device"] == "cpu"
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["run"] == run
    assert report["worst"] == "inf"
    assert touched == ["device", "saved with []", "saved with ['center', 'train_seconds', 'worst']"]


def test_measuring_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no run \(no config\.toml\)"):
        finish_module.evaluate_run(tmp_path)


def test_running_again_continues_and_free_keys_may_change(tmp_path: Path, touched: list[str]) -> None:
    first = train(config(tmp_path))
    again = train(config(tmp_path, log_every=1, checkpoint_every=5, num_workers=1))
    assert again.result.resumed_from == 12
    assert again.report == first.report


def test_a_saved_model_has_the_log_of_its_run_also_when_that_was_resumed(tmp_path: Path, touched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []
    monkeypatch.setattr(finish_module.Pretrained, "save_pretrained", lambda self, folder: saved.append(self))
    train(config(tmp_path, log_every=1))
    (tmp_path / "checkpoints" / "000012").rename(tmp_path / "moved")
    again = train(config(tmp_path, log_every=1))
    assert 0 < (again.result.resumed_from or 0) < 12
    assert len(saved) == 4
    for pretrained in saved:
        assert [line["step"] for line in pretrained.log] == list(range(1, 13))
        assert [line["loss"] for line in pretrained.log] == [pytest.approx(line["loss"], rel=5e-6) for line in read_metrics(tmp_path / "metrics.jsonl")]
        assert pretrained.pictures["training.png"].startswith(b"\x89PNG")


def test_another_configuration_is_refused_with_its_keys(tmp_path: Path, touched: list[str]) -> None:
    train(config(tmp_path))
    touched.clear()
    with pytest.raises(ConfigError, match=r"another configuration: data.root: absent -> x, training.seed: 0 -> 4; choose another training.output"):
        train(config(tmp_path, data={"root": "x"}, seed=4))
    assert touched == []


def test_a_damaged_record_of_the_run_is_refused(tmp_path: Path, touched: list[str]) -> None:
    (tmp_path / "config.toml").write_text("[training\n")
    with pytest.raises(ConfigError, match=r"config\.toml is damaged .*choose another training.output"):
        train(config(tmp_path))
    assert touched == []


def test_an_output_that_cannot_be_a_folder_is_refused(tmp_path: Path, touched: list[str]) -> None:
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match=r"cannot be written: .*file is not a folder"):
            train(config(output))
    assert touched == []


def test_checkpoints_of_unknown_origin_are_refused(tmp_path: Path, touched: list[str]) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match=r"no config\.toml"):
        train(config(tmp_path))
    assert touched == []


@pytest.mark.parametrize(
    ("training", "processes", "message"),
    [
        ({"accumulation_steps": 3}, "1", "batch_size 16 does not split into 3 equal parts"),
        ({"accumulation_steps": 2}, "3", "batch_size 16 does not split into 6 equal parts"),
        ({"tracker": "wandb"}, "1", "the package wandb is not installed"),
    ],
)
def test_mistakes_show_before_any_device_is_touched(
    tmp_path: Path, touched: list[str], monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], processes: str, message: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(ConfigError, match=message):
        train(config(tmp_path / "run", **training))
    assert touched == []
    assert not (tmp_path / "run").exists()
