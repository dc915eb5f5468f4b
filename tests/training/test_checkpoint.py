"""Checkpoints: round trip, damage, interruption."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from linearizer_core.errors import CheckpointError
from linearizer_core.training import CheckpointFolder, TrainingState


def state(step: int) -> TrainingState:
    return TrainingState(step=step, stage=0, stage_step=step, seconds={"one": 1.5}, identity={"seed": 0}, scaler={"scale": 2.0})


def tensors(step: int) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    model = {
        "weight": torch.randn(3, 5, generator=generator, dtype=torch.float64).T,
        "flag": torch.tensor(True),
        "empty": torch.empty(0),
        "count": torch.tensor([step]),
    }
    return {"model": model, "ema": {"weight": torch.randn(5, generator=generator).bfloat16()}}


def folder_with(path: Path, *steps: int, keep: int = 5) -> CheckpointFolder:
    checkpoints = CheckpointFolder(path / "checkpoints", keep=keep)
    for step in steps:
        checkpoints.save(state(step), tensors(step))
    return checkpoints


def test_round_trip_is_exact(tmp_path: Path) -> None:
    checkpoints = folder_with(tmp_path, 7)
    loaded, groups = checkpoints.load(7)
    assert loaded == state(7)
    for stem, group in tensors(7).items():
        assert groups[stem].keys() == group.keys()
        for name, tensor in group.items():
            assert torch.equal(groups[stem][name], tensor)
            assert groups[stem][name].dtype == tensor.dtype


def test_oldest_are_removed_and_last_names_the_newest(tmp_path: Path) -> None:
    checkpoints = folder_with(tmp_path, 1, 2, 3, keep=2)
    assert checkpoints.steps() == [2, 3]
    assert (checkpoints.folder / "last").read_text() == "000003\n"
    assert sorted(entry.name for entry in checkpoints.folder.iterdir()) == ["000002", "000003", "last"]


def test_nothing_there(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path / "checkpoints", keep=1).newest() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no state", "half a state", "future"])
def test_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str) -> None:
    checkpoints = folder_with(tmp_path, 1, 2)
    model, record = checkpoints.path(2) / "model.safetensors", checkpoints.path(2) / "state.json"
    content = model.read_bytes()
    match damage:
        case "truncated":
            model.write_bytes(content[:-3])
        case "flipped":
            model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "missing":
            model.unlink()
        case "no state":
            record.unlink()
        case "half a state":
            record.write_text(record.read_text()[:40])
        case "future":
            record.write_text(json.dumps({**json.loads(record.read_text()), "format": 99}))
    with pytest.raises(CheckpointError, match="000002"):
        checkpoints.load(2)
    with pytest.warns(UserWarning, match=r"000002.*; resuming from .*000001"):
        assert checkpoints.newest() == 1
    checkpoints.clean(1)
    assert checkpoints.steps() == [1]


def test_no_complete_checkpoint_left_is_an_error(tmp_path: Path) -> None:
    checkpoints = folder_with(tmp_path, 1)
    (checkpoints.path(1) / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no usable checkpoint: .*000001: model.safetensors is truncated"):
        checkpoints.newest()


@pytest.mark.parametrize("call", ["rename", "replace", "fsync"])
@pytest.mark.parametrize("count", range(5))
def test_interruption_at_any_system_call_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, count: int) -> None:
    checkpoints = folder_with(tmp_path, 1, 2, keep=2)
    original, calls = getattr(os, call), 0

    def interrupted(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == count + 1:
            raise KeyboardInterrupt
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, interrupted)
        try:
            checkpoints.save(state(3), tensors(3))
        except KeyboardInterrupt:
            assert calls == count + 1
    newest = checkpoints.newest()
    assert newest in (2, 3)
    checkpoints.clean(newest)
    loaded, groups = checkpoints.load(newest)
    assert loaded == state(newest)
    assert torch.equal(groups["model"]["weight"], tensors(newest)["model"]["weight"])
    assert not list(checkpoints.folder.glob(".tmp-*"))
    checkpoints.save(state(4), tensors(4))
    assert checkpoints.newest() == 4


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints = folder_with(tmp_path, 1)
    checkpoints.save(state(1), tensors(9))
    assert torch.equal(checkpoints.load(1)[1]["model"]["weight"], tensors(9)["model"]["weight"])


def test_nothing_is_pickled(tmp_path: Path) -> None:
    checkpoints = folder_with(tmp_path, 1)
    assert {path.suffix for path in checkpoints.path(1).iterdir()} == {".json", ".safetensors"}
