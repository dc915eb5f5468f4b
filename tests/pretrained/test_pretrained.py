"""Saved models: the same bits come back, and nothing else is let in."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from linearizer_core import plugins
from linearizer_core.condition import Condition
from linearizer_core.config import CollapseConfig, Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.errors import ArtifactError, ConfigError, UnknownNameError
from linearizer_core.factory import build_model
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import Diagonal, Mask, save_operator
from linearizer_core.pretrained import Pretrained, artifact_folder, load, weights
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.specs import PretrainedSpec
from linearizer_core.task import BuildContext, Task
from linearizer_flow.task import FlowTask

DENSE = {"couplings": 2, "width": 6}
INFO = DataInfo(name="squares", shape=(1, 4, 4), classes=3)
CONFIG = ModelConfig(
    task=Component(name="flow", latent_prior={"prior": {"backbone": {"name": "coupling", "dense": DENSE}}}),
    backbone=Component(name="coupling", levels=[], dense=DENSE),
    core=Component(name="gaussian", rank=4),
)
FILES = {"README.md", "config.json", "metrics.json", "model.safetensors", "operator.safetensors"}


def tiny(seed: int = 0, *, config: ModelConfig = CONFIG, metrics: dict[str, Any] | None = None) -> Pretrained:
    """A flow model whose weights are not those of its seed, so that only the file can bring them back."""
    task, model = build_model(config, INFO)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return Pretrained(task, model.eval(), ArtifactConfig(model=config, data=INFO, seed=7, commit="abc"), metrics or {}, task.collapsed(model))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny(metrics={"psnr": 31.5}).save_pretrained(tmp_path / "artifact")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def same_bits(first: nn.Module, second: nn.Module) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a)


# --- building -----------------------------------------------------------------------------------


def test_the_same_seed_builds_the_same_weights_and_leaves_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first, second, other = (build_model(CONFIG, INFO, seed)[1] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert same_bits(first, second)
    assert not same_bits(first, other)


# --- save and load ------------------------------------------------------------------------------


def test_the_same_bits_come_back(tmp_path: Path) -> None:
    original = tiny(metrics={"psnr": 31.5, "nested": {"a": [1, 2]}, "floor": math.inf})
    folder = original.save_pretrained(tmp_path / "new" / "artifact")
    assert {path.name for path in folder.iterdir()} == FILES
    restored = Pretrained.from_pretrained(folder)
    assert same_bits(restored.model, original.model)
    assert isinstance(restored.operator, Mask)
    assert torch.equal(restored.operator.mask, original.operator.mask)  # type: ignore[union-attr]
    assert restored.metrics == {"psnr": 31.5, "nested": {"a": [1, 2]}, "floor": "inf"}
    assert restored.config.model_copy(update={"plugins": (), "sha256": {}}) == original.config
    assert restored.notes == {}
    assert not restored.model.training
    for options in ({}, {"label": 2}, {"steps": 5}, {"steps": 5, "solver": "rk4", "temperature": 0.5}):
        assert torch.equal(restored.sample(3, seed=4, **options), original.sample(3, seed=4, **options))
    assert restored.sample(2).shape == (2, 1, 4, 4)
    assert not torch.equal(restored.sample(2, seed=0), restored.sample(2, seed=1))


@pytest.mark.parametrize("core", ["shared_subspace", "low_rank"])
def test_the_same_samples_come_back_from_learned_cores(tmp_path: Path, core: str) -> None:
    config = ModelConfig(task=Component(name="flow", recipe="published", sampling={"steps": 5}), backbone=CONFIG.backbone, core=Component(name=core, rank=3))
    original = tiny(config=config)
    restored = Pretrained.from_pretrained(original.save_pretrained(tmp_path / "artifact"))
    assert same_bits(restored.model, original.model)
    for options in ({}, {"solver": "euler"}, {"steps": 6}):
        assert torch.equal(restored.sample(20, seed=2, **options), original.sample(20, seed=2, **options))


def test_a_second_generation_is_the_same_folder(folder: Path, tmp_path: Path) -> None:
    again = Pretrained.from_pretrained(folder).save_pretrained(tmp_path / "again")
    for name in FILES - {"config.json", "operator.safetensors"}:
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    for config in (again / "config.json", folder / "config.json"):  # the metadata of the operator come in any order
        edit(config, lambda values: values["sha256"].pop("operator.safetensors"))
    assert (again / "config.json").read_bytes() == (folder / "config.json").read_bytes()
    assert torch.equal(load_file(again / "operator.safetensors")["mask"], load_file(folder / "operator.safetensors")["mask"])


# --- another collapse ---------------------------------------------------------------------------


def test_a_flow_is_collapsed_anew_and_saved_with_its_report(tmp_path: Path) -> None:
    original = tiny(metrics={"frechet": 3.0}).collapsed(CollapseConfig())
    assert original.metrics == {"frechet": 3.0}  # the same operator
    assert original.collapse is not None
    other = original.collapsed(CollapseConfig(steps=8, solver="rk4", terminal="early"))
    assert other.metrics == {}  # they were another operator's
    assert not torch.equal(other.sample(3), original.sample(3))
    folder = other.save_pretrained(tmp_path / "artifact")
    assert {path.name for path in folder.iterdir()} == FILES | {"collapse.json", "singular_values.png"}
    restored = Pretrained.from_pretrained(folder)
    assert restored.collapse == other.collapse
    assert restored.pictures == other.pictures
    assert torch.equal(restored.sample(3), other.sample(3))
    card = (folder / "README.md").read_text()
    assert "The 7 steps of the solver `rk4` are one operator B. The flow ends at t = 0.875: B is invertible" in card
    assert "](singular_values.png)" in card
    assert "| `c` | 0.125 |" in card
    assert "| `steps` | 7 |" in card
    assert "singular_values`" not in card
    again = restored.save_pretrained(tmp_path / "again")
    for name in ("collapse.json", "singular_values.png", "README.md"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_task_of_a_collapsed_model_knows_how_it_was_made(tmp_path: Path) -> None:
    """Labelled samples, loops and the report then use the same settings."""
    made = tiny().collapsed(CollapseConfig(steps=8, solver="rk4", terminal="early", rank=15))
    restored = Pretrained.from_pretrained(made.save_pretrained(tmp_path / "artifact"))
    assert restored.task.collapse() == made.config.collapse == CollapseConfig(steps=8, solver="rk4", terminal="early", rank=15)
    assert torch.equal(restored.task.sample(restored.model, 3, torch.Generator().manual_seed(0)), restored.sample(3, seed=0))


def test_the_map_of_a_core_under_labels_has_the_operator_of_the_label(tmp_path: Path) -> None:
    task = Component(name="flow", recipe="published", published={"condition": "label"}, sampling={"steps": 5})
    config = ModelConfig(task=task, backbone=CONFIG.backbone, core=Component(name="shared_subspace", rank=3))
    original = tiny(config=config)
    with torch.no_grad():
        original.model.core.network.output.weight.normal_()  # type: ignore[union-attr, operator]
    restored = Pretrained.from_pretrained(original.collapsed(CollapseConfig(steps=5)).save_pretrained(tmp_path / "artifact"))
    maps = {label: restored.linearizer(Condition(label=torch.tensor([label]))) for label in (0, 2)}
    assert restored.linearizer().operator is restored.operator
    assert not torch.allclose(maps[0].operator.to_dense(), maps[2].operator.to_dense())
    noise = torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(maps[2](noise), restored.sample(4, seed=3, label=2))


def test_a_folder_is_replaced_where_one_stands_in_it_and_through_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny(metrics={"a": 1}).save_pretrained(tmp_path / "artifact")
    monkeypatch.chdir(folder)
    tiny(metrics={"a": 2}).save_pretrained(".")
    assert json.loads((folder / "metrics.json").read_text()) == {"a": 2}
    (tmp_path / "link").symlink_to(folder)
    tiny(metrics={"a": 3}).save_pretrained(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert json.loads((folder / "metrics.json").read_text()) == {"a": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "link"]


@pytest.mark.parametrize("name", ["../escape.png", "a/b.png", "x.svg", "x](y).png"])
def test_pictures_with_strange_names_are_not_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="its name of letters"):
        replace(tiny(), pictures={name: b"\x89PNG\r\n\x1a\n"}).save_pretrained(tmp_path / "artifact")
    assert not list(tmp_path.iterdir())


def test_pictures_of_the_former_operator_go_with_its_metrics() -> None:
    shown = replace(tiny().collapsed(CollapseConfig()), pictures=dict.fromkeys(("samples.png", "examples.png", "training.png"), b"\x89PNG\r\n\x1a\n"))
    assert set(shown.collapsed(CollapseConfig()).pictures) == {*shown.pictures, "singular_values.png"}
    assert set(shown.collapsed(CollapseConfig(rank=2)).pictures) == {"examples.png", "training.png", "singular_values.png"}


def test_a_model_without_steps_is_not_collapsed() -> None:
    class Still(FlowTask):
        with_collapse = Task.with_collapse  # type: ignore[assignment]

    pretrained = tiny()
    with pytest.raises(ConfigError, match="Still has no steps to collapse"):
        replace(pretrained, task=Still(pretrained.task.config)).collapsed(CollapseConfig())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda folder: edit(folder / "collapse.json", lambda values: values.pop("rank")), "rank: Field required"),
        (lambda folder: edit(folder / "collapse.json", lambda values: values.update(note="x")), "note: Extra inputs"),
        (lambda folder: (folder / "collapse.json").write_text("[]"), "holds a list"),
        (lambda folder: (folder / "more.png").write_bytes(b"GIF89a"), "expected a PNG file"),
        (lambda folder: (folder / "folder.png").mkdir(), "is no regular file"),
        (lambda folder: (folder / "link.png").symlink_to(folder / "nowhere"), "is no regular file"),
        (lambda folder: edit(folder / "collapse.json", lambda values: values.update(dim=17)), "describes another operator"),
        (lambda folder: edit(folder / "config.json", lambda values: values["collapse"].update(steps=0)), "collapse.steps"),
        (lambda folder: (folder / "a b](x).png").write_bytes(b"\x89PNG\r\n\x1a\n"), "its name of letters"),
        (lambda folder: (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2**22)), "is no file of at most"),
        (lambda folder: [(folder / f"p{k}.png").write_bytes(b"\x89PNG\r\n\x1a\n") for k in range(40)], "pictures, expected at most"),
    ],
)
def test_damaged_reports_and_pictures_are_refused(tmp_path: Path, change: Callable[[Path], object], expected: str) -> None:
    folder = tiny().collapsed(CollapseConfig(steps=8)).save_pretrained(tmp_path / "artifact")
    change(folder)
    with pytest.raises(ArtifactError, match=expected):
        Pretrained.from_pretrained(folder)


def test_the_json_files_are_valid_for_any_reader(tmp_path: Path) -> None:
    folder = tiny(metrics={"psnr": math.inf, "error": math.nan}).save_pretrained(tmp_path / "artifact")

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    assert json.loads((folder / "metrics.json").read_text(), parse_constant=refuse) == {"psnr": "inf", "error": "nan"}


def test_origins_are_recorded(folder: Path) -> None:
    origins = json.loads((folder / "config.json").read_text())["plugins"]
    assert [(origin["component"], origin["distribution"]) for origin in origins] == [(part, "linearizer") for part in ("task", "backbone", "core")]


def test_the_map_of_a_loaded_model_has_the_collapsed_operator(folder: Path) -> None:
    restored = Pretrained.from_pretrained(folder)
    f = restored.linearizer(Condition(label=torch.tensor([1])))
    assert f.operator is restored.operator
    images = f(torch.randn(3, 16))
    assert images.shape == (3, 1, 4, 4)
    assert torch.allclose(f(f.pinv()(images)), images, atol=1e-4)


def test_a_shared_bijection_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(self: FlowTask, context: BuildContext) -> LinearizerModel:
        return LinearizerModel(context.backbone((16,), None), context.core((16, 16), None))

    monkeypatch.setattr(FlowTask, "build", build)
    original = tiny()
    folder = original.save_pretrained(tmp_path / "artifact")
    stored = load_file(folder / "model.safetensors")
    numbers = sum(tensor.numel() for tensor in original.model.gx.state_dict().values()) + sum(t.numel() for t in original.model.core.state_dict().values())
    assert sum(tensor.numel() for tensor in stored.values()) == numbers
    restored = Pretrained.from_pretrained(folder)
    assert restored.model.gx is restored.model.gy
    assert same_bits(restored.model, original.model)


def test_a_model_without_collapsed_operator_has_no_file_for_it(tmp_path: Path) -> None:
    original = tiny()
    folder = Pretrained(original.task, original.model, original.config).save_pretrained(tmp_path / "artifact")
    assert {path.name for path in folder.iterdir()} == FILES - {"operator.safetensors"}
    restored = Pretrained.from_pretrained(folder)
    assert restored.operator is None
    assert torch.equal(restored.sample(2), original.sample(2))


def test_load_by_uri(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    folder.rename(run / "model")
    assert artifact_folder(run) == run / "model"
    assert artifact_folder(run / "model") == run / "model"
    expected = load(f"local-dir:{run / 'model'}").sample(1)
    assert torch.equal(load(f"local-dir:{run}").sample(1), expected)
    for uri in (str(run), "flow.nonesuch", "someone/flow"):
        with pytest.raises(ArtifactError, match=re.escape(f"{uri!r}: write local-dir:PATH")):
            load(uri)


def test_load_by_the_name_that_a_plugin_registered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PretrainedSpec("flow.squares", location="fake_registry:flow.squares", summary="s")
    monkeypatch.setattr(PretrainedSpec, "folder", lambda self: folder)
    found = plugins._discover()
    monkeypatch.setattr(plugins, "_discover", lambda: (replace(found[0], specs=(*found[0].specs, spec)), *found[1:]))
    assert torch.equal(load("flow.squares").sample(1), load(f"local-dir:{folder}").sample(1))


# --- overwriting ----------------------------------------------------------------------------------


def test_an_artifact_is_replaced_as_a_whole(folder: Path) -> None:
    (folder / "stale.txt").touch()
    newer = tiny(seed=1)
    newer.save_pretrained(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert same_bits(Pretrained.from_pretrained(folder).model, newer.model)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_crash_while_replacing_leaves_the_old_artifact(folder: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename, calls = os.rename, 0

    def failing_once(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise OSError("the disk went away")
        rename(*arguments, **options)

    monkeypatch.setattr(os, "rename", failing_once)
    with pytest.raises(OSError, match="the disk went away"):
        tiny(seed=1).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    tiny(seed=1).save_pretrained(folder)
    assert (folder / "model.safetensors").read_bytes() != before["model.safetensors"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_crash_while_writing_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exists: bool) -> None:
    folder = tmp_path / "artifact"
    if exists:
        tiny().save_pretrained(folder)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(weights, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        tiny(seed=1).save_pretrained(folder)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert folder.exists() == exists


@pytest.mark.parametrize("content", [{"notes.txt": "mine"}, {"config.json": '{"model_type": "bert"}', "weights.bin": "mine"}])
def test_a_folder_that_is_no_artifact_is_not_replaced(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ArtifactError, match=r"exists and is not a saved linearizer.*choose another folder"):
        tiny().save_pretrained(tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == content


def test_a_file_is_not_replaced_and_an_empty_folder_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match="not a saved linearizer"):
        tiny().save_pretrained(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert {path.name for path in tiny().save_pretrained(tmp_path / "empty").iterdir()} == FILES


def test_weights_that_could_not_be_loaded_again_are_not_saved(tmp_path: Path) -> None:
    double = tiny()
    double.model.double()
    with pytest.raises(ArtifactError, match=r"parameters of torch.float64, an artifact holds torch.float32; call model.float\(\)"):
        double.save_pretrained(tmp_path / "artifact")
    assert list(tmp_path.iterdir()) == []


# --- refusals -------------------------------------------------------------------------------------


def set_in(*path: str, to: object) -> Callable[[dict[str, Any]], object]:
    def change(values: dict[str, Any]) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("colour", to="red"), r"config.json: colour: Extra inputs are not permitted.*restore it"),
        (set_in("data", "colour", to="red"), r"data.colour: Extra inputs"),
        (set_in("seed", to="many"), r"seed: .*valid integer"),
        (set_in("seed", to=10**100), r"cannot be read as JSON \(a whole number of 101 digits, expected 64 bits\)"),
        (
            set_in("data", "classes", to=10**13),
            r"cannot be built: it takes more than \d+ numbers to build, but its file holds \d+; one of the two was replaced; restore",
        ),
        (set_in("data", "shape", to=[1, -4, 4]), r"data.shape.1: .*greater than 0"),
        (set_in("data", "shape", to=[]), r"data.shape: .*at least 1 item"),
        (set_in("model", to=3), r"model: "),
        (lambda values: values.pop("data"), r"data: Field required"),
        (set_in("format_version", to=2), r"has format version 2, this release reads 1 to 1; upgrade with: pip install -U linearizer"),
        (set_in("format_version", to="1"), r"has format version '1'"),
        (set_in("format_version", to=0), r"has format version 0"),
        (set_in("format", to="pytorch"), r"has format 'pytorch', expected 'linearizer'"),
        (lambda values: values.pop("format"), r"has format None, expected 'linearizer'"),
        (set_in("model", "core", "rnak", to=3), r"describes a model that cannot be built: .*rnak = 3: unknown key; did you mean 'rank'"),
        (set_in("model", "core", "rank", to="four"), r"cannot be built: .*rank = 'four'"),
        (set_in("model", "core", "rank", to=400), r"cannot be built: .*400"),
        (set_in("data", "classes", to=0), r"cannot be built: .*no labels"),
        (set_in("data", "classes", to=4), r"model.safetensors: gy\..* is torch.* of shape \(3.*config.json needs torch.* of shape \(4"),
        (set_in("data", "shape", to=[1, 4, 6]), r"model.safetensors: .*one of the two files was replaced"),
        (set_in("model", "backbone", "dense", to={"couplings": 4, "width": 6}), r"does not fit its config.json: missing \['gy\.body.*; one of the two files"),
        (set_in("model", "backbone", "dense", to={"couplings": 0, "width": 6}), r"does not fit its config.json: .*unexpected \['gy\.body"),
    ],
)
def test_edited_configurations_are_refused(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit(folder / "config.json", change)
    with pytest.raises(ArtifactError, match=message):
        Pretrained.from_pretrained(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"format": "linearizer"', r"cannot be read as JSON .*truncated or damaged, restore it"),
        (b"", "cannot be read as JSON"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        (b"[1, 2]", "holds a list, expected an object"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b'{"a":' * 30_000 + b"1" + b"}" * 30_000, "cannot be read as JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "cannot be read as JSON"),
        (b'{"a": "' + b"x" * (5 * 2**20) + b'"}', r"has 5242\d+ bytes, expected at most (262144|4194304); it is not ours"),
    ],
    ids=["truncated", "empty", "not text", "no object", "deep list", "deep object", "long number", "huge"],
)
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_damaged_json_is_refused(folder: Path, name: str, content: bytes, message: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        Pretrained.from_pretrained(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("depth", [50, 400, 900])
def test_deep_values_under_a_known_key_are_refused(folder: Path, depth: int) -> None:
    text = (folder / "config.json").read_text()
    nested = '{"x":' * depth + "1" + "}" * depth
    assert '"rank": 4' in text
    (folder / "config.json").write_text(text.replace('"rank": 4', f'"rank": {nested}'))
    with pytest.raises(ArtifactError, match=r"config\.json"):
        Pretrained.from_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "model.safetensors"])
def test_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=rf"(?s){name}.*(give the folder|fetch or save it again)"):
        Pretrained.from_pretrained(folder)


class Payload:
    """A pickle that, when it is loaded, creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.safetensors", "operator.safetensors", "config.json", "metrics.json"])
@pytest.mark.parametrize("writer", [lambda value, path: path.write_bytes(pickle.dumps(value)), torch.save], ids=["pickle", "torch.save"])
def test_pickles_are_refused_and_run_nothing(folder: Path, tmp_path: Path, name: str, writer: Callable[[object, Path], object]) -> None:
    trace = tmp_path / "it ran"
    writer({"gx.weight": Payload(trace)}, folder / name)
    with pytest.raises(ArtifactError, match=re.escape(name)):
        Pretrained.from_pretrained(folder)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))
    assert trace.exists(), "the payload of this test works"


@pytest.mark.parametrize("kept", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ArtifactError, match=r"model.safetensors cannot be read as safetensors .*truncated, damaged or a pickle, fetch or save it again"):
        Pretrained.from_pretrained(folder)


@pytest.fixture
def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The stored tensors, by name."""
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors, name: tensors.pop(name), r"missing \['{name}'\], unexpected \[\]"),
        (lambda tensors, name: tensors.update(stranger=torch.ones(1)), r"missing \[\], unexpected \['stranger'\]"),
        (lambda tensors, name: tensors.update({name: tensors[name][:1].clone()}), r"{name} is torch.float32 of shape \(1,.*needs torch.float32 of shape \("),
        (lambda tensors, name: tensors.update({name: tensors[name].half()}), r"{name} is torch.float16 of shape"),
    ],
    ids=["missing", "extra", "ill-shaped", "ill-typed"],
)
def test_tensors_that_do_not_fit_are_refused(
    folder: Path, tensors: dict[str, torch.Tensor], change: Callable[[dict[str, torch.Tensor], str], object], message: str
) -> None:
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.ndim == 2 and len(tensor) > 1 and tensor.dtype == torch.float32)
    change(tensors, name)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ArtifactError, match=message.format(name=re.escape(name))):
        Pretrained.from_pretrained(folder)


def test_other_numbers_are_refused(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    name = next(name for name, tensor in sorted(tensors.items()) if tensor.dtype == torch.float32)
    save_file({**tensors, name: tensors[name] + 1}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"model\.safetensors is not the file that was saved .*; fetch or save the artifact again"):
        Pretrained.from_pretrained(folder)


def test_another_or_no_operator_is_refused(folder: Path) -> None:
    save_operator(folder / "operator.safetensors", Diagonal(torch.ones(16)))
    with pytest.raises(ArtifactError, match=r"operator\.safetensors is not the file that was saved"):
        Pretrained.from_pretrained(folder)
    (folder / "operator.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"operator\.safetensors is missing"):
        Pretrained.from_pretrained(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "operator.safetensors"])
def test_a_file_whose_digest_was_taken_out_is_refused(folder: Path, name: str) -> None:
    edit(folder / "config.json", lambda values: values["sha256"].pop(name))
    with pytest.raises(ArtifactError, match=rf"{re.escape(name)} is not the file that was saved"):
        Pretrained.from_pretrained(folder)


def test_an_operator_of_another_model_is_refused(folder: Path) -> None:
    save_operator(folder / "operator.safetensors", Diagonal(torch.ones(5)))
    with pytest.raises(
        ArtifactError, match=r"operator.safetensors is Diagonal\(5 x 5, float32\), the model needs \(16, 16\) in torch.float32; it belongs to another model"
    ):
        Pretrained.from_pretrained(folder)


@pytest.fixture
def without_coupling(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Path]:
    edit(folder / "config.json", lambda values: values["plugins"][1].update(distribution="linearizer-couplings", version="3.1"))
    monkeypatch.setenv(plugins.BLOCK, "coupling")
    plugins.reload()
    yield folder
    plugins.reload()


def test_a_plugin_that_is_not_installed_is_named_with_its_distribution(without_coupling: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"was saved with .*backbone from linearizer-couplings 3\.1.*no backbone named 'coupling'.*pip install"):
        Pretrained.from_pretrained(without_coupling)


def test_options_of_sampling_are_checked(folder: Path) -> None:
    restored = Pretrained.from_pretrained(folder)
    for options, message in (({"colour": 3}, "colour = 3: unknown key"), ({"steps": 0}, "steps = 0"), ({"label": 3}, "knows the labels 0 to 2")):
        with pytest.raises(ConfigError, match=message):
            restored.sample(1, **options)


# --- weights in float16 ------------------------------------------------------------------------------


def test_compact_weights_come_back_bit_for_bit_from_half_the_bytes(tmp_path: Path) -> None:
    original = tiny(metrics={"psnr": 31.5})
    compact = original.compact()
    assert not same_bits(compact.model, original.model)
    assert 0 < compact.metrics["float16_weights_rel_err"] < 1e-2
    assert compact.metrics["psnr"] == 31.5
    wide, narrow = original.save_pretrained(tmp_path / "wide"), compact.save_pretrained(tmp_path / "narrow")
    stored = {folder: load_file(folder / "model.safetensors") for folder in (wide, narrow)}
    half = sum(tensor.numel() * 2 for tensor in stored[wide].values() if tensor.dtype == torch.float32)
    sizes = [sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) for tensors in stored.values()]
    assert sizes[0] - sizes[1] == half > 0
    assert {tensor.dtype for tensor in stored[narrow].values()} == {torch.float16, torch.float64, torch.bool}
    restored = Pretrained.from_pretrained(narrow)
    assert same_bits(restored.model, compact.model)
    assert torch.equal(restored.sample(4, seed=1), compact.sample(4, seed=1))
    assert same_bits(restored.compact().model, compact.model)


def test_weights_in_another_precision_than_announced_are_refused(tmp_path: Path) -> None:
    folder = tiny().compact().save_pretrained(tmp_path / "artifact")
    edit(folder / "config.json", lambda values: values.update(weights="float32"))
    with pytest.raises(ArtifactError, match=r"is torch.float16 of shape .*, the model of config.json needs torch.float32"):
        Pretrained.from_pretrained(folder)


def test_weights_beyond_the_range_of_float16_are_refused() -> None:
    original = tiny()
    with torch.no_grad():
        next(iter(original.model.parameters())).mul_(1e7)
    with pytest.raises(ArtifactError, match="float16 holds numbers up to 65504; save float32 weights"):
        original.compact()
