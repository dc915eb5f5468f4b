"""From the Hub: one commit, whole and as it was committed, or an error; and nothing half way."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Answer, Command, HubServer, as_json, closed_port, said, stored
from huggingface_hub import constants

from linearizer_core import load
from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.hub import HubAddress, fetch, pull

NAME = "org/squares"
URI = f"hf-hub:{NAME}"


def in_cache(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "hub").glob("models--*/snapshots/*/*"))


@pytest.fixture
def commit(hub: HubServer, contents: dict[str, bytes]) -> str:
    return hub.add(NAME, {**contents, ".gitattributes": b"", "optimizer.bin": b"x" * 9, "sub/config.json": b"{}", "bad name.png": b"x", "train.py": b"x"})


def test_a_model_is_loaded_with_the_commit_it_came_from(hub: HubServer, commit: str, model: Pretrained) -> None:
    hub.repos[NAME].names["v1.0"] = commit
    for uri in (URI, f"{URI}@main", f"{URI}@v1.0", f"{URI}@{commit}"):
        loaded = load(uri)
        assert loaded.source == HubAddress(NAME, commit)
        assert torch.equal(loaded.sample(2, seed=3), model.sample(2, seed=3))
    assert Pretrained.from_pretrained(URI).source == HubAddress(NAME, commit)
    assert loaded.compact().source == HubAddress(NAME, commit)


def test_only_files_of_the_layout_are_fetched_and_each_once(hub: HubServer, commit: str, contents: dict[str, bytes], home: Path) -> None:
    for _ in range(3):
        fetch(HubAddress(NAME))
    assert in_cache(home) == sorted(contents)
    fetched = [request.path.rpartition("/")[2] for request in hub.asked("GET .*/resolve/|GET /[0-9a-f]{64}")]
    large = {name for name in contents if name.endswith((".safetensors", ".png"))}
    assert sorted(fetched) == sorted([*(contents.keys() - large), *(path.strip("/") for path in {request.path for request in hub.to_store})])
    assert len(hub.to_store) == len(large)


def test_the_branch_moves_while_it_is_fetched(hub: HubServer, commit: str, contents: dict[str, bytes]) -> None:
    newer = {**contents, "metrics.json": b'{"psnr": 1.0}'}
    for step in ("/revision/.*blobs", "/tree/", "/resolve/.*/config.json", "/resolve/.*/model.safetensors"):
        hub.on(step, lambda _: hub.add(NAME, newer) and None)
    loaded = load(URI)
    assert loaded.source == HubAddress(NAME, commit)
    assert loaded.metrics == {"psnr": 31.5}
    assert hub.repos[NAME].commits[-1].sha != commit
    assert len(hub.asked("/revision/main")) == 1
    assert len(hub.repos[NAME].commits) == 5
    assert all(f"/{commit}" in request.path for request in hub.asked("blobs|/(tree|resolve)/"))
    assert load(URI).metrics == {"psnr": 1.0}


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "no network", "a fault of the Hub"])
def test_a_model_in_the_cache_needs_no_network(hub: HubServer, commit: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(URI)
    asked = len(hub.requests)
    if how == "a fault of the Hub":
        hub.on(".", Answer(503), times=9)
    else:
        hub.stop()
        if how == "HF_HUB_OFFLINE":
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        else:
            monkeypatch.setattr(constants, "ENDPOINT", closed_port())
    for uri in (URI, f"{URI}@{commit}"):
        loaded = load(uri)
        assert loaded.source == expected.source
        assert torch.equal(loaded.sample(1), expected.sample(1))
    assert len(hub.requests) - asked == (how == "a fault of the Hub")


def test_a_commit_in_the_cache_is_not_asked_for(hub: HubServer, commit: str) -> None:
    load(URI)
    asked = len(hub.requests)
    load(f"{URI}@{commit}")
    assert len(hub.requests) == asked


@pytest.mark.parametrize("offline", [True, False])
def test_a_model_that_is_not_in_the_cache(hub: HubServer, commit: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE" if offline else "ENDPOINT", True if offline else closed_port())
    for uri in (URI, f"{URI}@{commit}"):
        expected = "not complete in the cache, and HF_HUB_OFFLINE forbids" if offline else "cannot be reached (ConnectError"
        with pytest.raises(HubError, match=re.escape(expected)) as caught:
            load(uri)
        assert str(caught.value).startswith(URI) or str(caught.value).startswith(NAME)


# --- interrupted ------------------------------------------------------------------------------------


def test_a_dropped_connection_is_mended_in_the_same_call(hub: HubServer, commit: str, contents: dict[str, bytes], model: Pretrained) -> None:
    path = "GET " + stored(contents["model.safetensors"])
    hub.on(path, Answer(200, contents["model.safetensors"], drop=5000))
    assert torch.equal(load(URI).sample(1), model.sample(1))
    assert len(hub.asked(path)) == 2


@pytest.mark.parametrize("name", ["operator.safetensors", "collapse.json", "singular_values.png"])
def test_a_pull_that_fails_half_way_goes_on(
    hub: HubServer, commit: str, contents: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hub.on(f"GET .*/resolve/{commit}/{name}" if name.endswith(".json") else "GET " + stored(contents[name]), said(403, "expired"))
    with pytest.raises(HubError, match="expired"):
        load(URI)
    here = in_cache(home)
    assert "config.json" in here
    assert name not in here
    still_there(hub, contents, here, monkeypatch)
    load(URI)


def test_a_pull_that_is_killed_leaves_nothing_and_goes_on(
    hub: HubServer,
    commit: str,
    contents: dict[str, bytes],
    start: Callable[..., subprocess.Popen[str]],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.repos[NAME].private = True
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    weights = "GET " + stored(contents["model.safetensors"])
    hub.on(weights, lambda _: time.sleep(30) or Answer(500))
    process = start("pull", URI, "-o", str(tmp_path / "out"))
    while not (hub.asked(weights) and hub.asked("/resolve/.*/README.md")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out").exists()
    here = in_cache(home)
    assert "model.safetensors" not in here
    still_there(hub, contents, here, monkeypatch)
    pulled = pull(HubAddress(NAME), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in pulled.folder.iterdir()} == contents


def still_there(hub: HubServer, contents: dict[str, bytes], here: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived is no model yet, and is not fetched again."""
    with monkeypatch.context() as patched:
        patched.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(HubError, match="not complete in the cache"):
            load(URI)
    before = len(hub.requests)
    fetch(HubAddress(NAME))
    assert {request.path.rpartition("/")[2] for request in hub.requests[before:] if "/resolve/" in request.path} == contents.keys() - set(here)


# --- not what was committed, or not a model -----------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "singular_values.png", "metrics.json", "config.json"])
def test_a_file_that_arrives_changed_is_refused_and_fetched_again(hub: HubServer, commit: str, contents: dict[str, bytes], name: str) -> None:
    large, content = not name.endswith(".json"), contents[name]
    hub.on("GET " + stored(content) if large else f"GET .*/resolve/{commit}/{name}", Answer(200, bytes([content[0] ^ 1]) + content[1:]), times=2)
    with pytest.raises(HubError, match=f"{name} is damaged .* and was deleted; run it again"):
        load(URI)
    assert load(URI).metrics == {"psnr": 31.5}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub: HubServer, commit: str, contents: dict[str, bytes], name: str) -> None:
    path = fetch(HubAddress(NAME)).folder / name
    path.write_bytes(contents[name][:-10])
    assert load(URI).metrics == {"psnr": 31.5}
    assert path.read_bytes() == contents[name]


def test_a_file_that_arrives_cut_off_is_refused(hub: HubServer, commit: str, contents: dict[str, bytes]) -> None:
    hub.on("GET " + stored(contents["model.safetensors"]), Answer(200, contents["model.safetensors"][:-7]))
    with pytest.raises(HubError, match="the transfer broke off"):
        load(URI)
    load(URI)


def test_tensors_that_do_not_belong_to_their_configuration_are_refused(hub: HubServer, contents: dict[str, bytes], tmp_path: Path, model: Pretrained) -> None:
    config = json.loads(contents["config.json"])
    config["sha256"]["model.safetensors"] = "0" * 64
    hub.add(NAME, {**contents, "config.json": json.dumps(config).encode()})
    for run in (lambda: pull(HubAddress(NAME), tmp_path / "out"), lambda: pull(HubAddress(NAME)), lambda: load(URI)):
        with pytest.raises(ArtifactError, match=r"is not what was saved, its author has to push it again: .*model\.safetensors"):
            run()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "is not a saved linearizer: model.safetensors and metrics.json are missing"),
        ({"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x", "metrics.json": b"{}"}, "has format None, expected 'linearizer'"),
        ({"config.json": b"<html>", "model.safetensors": b"x", "metrics.json": b"{}"}, "cannot be read as JSON"),
        ({"config.json": b'{"format": "linearizer", "format_version": 99}', "model.safetensors": b"x", "metrics.json": b"{}"}, "upgrade with"),
        ({"readme.md": b""}, "config.json and model.safetensors and metrics.json are missing"),
    ],
)
def test_what_is_no_linearizer_is_refused_before_its_weights_are_fetched(hub: HubServer, files: dict[str, bytes], expected: str) -> None:
    hub.add(NAME, files)
    with pytest.raises((HubError, ArtifactError), match=re.escape(expected)):
        load(URI)
    assert not hub.to_store
    assert not hub.asked("/resolve/.*/(model|metrics)")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([{"path": "model.safetensors", "size": 5 * 2**30}], "model.safetensors has 5,368,709,120 bytes"),
        ([{"path": "collapse.json", "size": 2**30}], "collapse.json has 1,073,741,824 bytes"),
        ([{"path": "a.png", "size": 2**30}], "a.png has 1,073,741,824 bytes"),
        ([{"path": f"{i}.png", "size": 9} for i in range(40)], "has 40 pictures, expected at most 32"),
        ([{"path": f"{i}.txt", "size": 9} for i in range(2000)], "has 2,003 files"),
    ],
)
def test_what_is_too_much_is_refused_before_anything_is_fetched(hub: HubServer, commit: str, more: list[dict[str, object]], expected: str) -> None:
    usual = [{"path": name, "size": 9} for name in ("config.json", "model.safetensors", "metrics.json")]
    siblings = [{"rfilename": entry["path"], "size": entry["size"], "blobId": "0" * 40} for entry in [*usual, *more]]
    hub.on("blobs", as_json({"id": NAME, "sha": commit, "siblings": siblings}))
    with pytest.raises(HubError, match=re.escape(expected)):
        load(URI)
    assert not hub.asked("/resolve/|/tree/")


def test_paths_that_lead_elsewhere_are_not_fetched(hub: HubServer, contents: dict[str, bytes], home: Path) -> None:
    hub.add(NAME, {**contents, "../../../outside.png": b"x", "/etc/config.json": b"x", "a/../model.safetensors": b"x"})
    load(URI)
    assert in_cache(home) == sorted(contents)
    assert not hub.asked("outside|etc|a/")


# --- into a folder ------------------------------------------------------------------------------------


def test_a_folder_is_replaced_as_a_whole(
    hub: HubServer, commit: str, contents: dict[str, bytes], model: Pretrained, tmp_path: Path, linearizer: Command
) -> None:
    out = model.save_pretrained(tmp_path / "out")
    (out / "old.txt").touch()
    done = linearizer("pull", f"{NAME}@main", "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"pulled: {URI}@{commit}\nfolder: {out}\n"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == contents
    assert not any(path.is_symlink() for path in out.iterdir())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_of_something_else_is_refused_before_anything_is_asked(hub: HubServer, commit: str, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(ArtifactError, match="is not a saved linearizer"):
        pull(HubAddress(NAME), tmp_path / "photos")
    assert not hub.requests


# --- on the command line --------------------------------------------------------------------------------


def test_pull_prints_the_folder_and_the_commit(hub: HubServer, commit: str, linearizer: Command, home: Path) -> None:
    done = linearizer("pull", URI)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"pulled: {URI}@{commit}", f"folder: {home}/hub/models--org--squares/snapshots/{commit}"]


def test_commands_take_the_address_of_a_model(hub: HubServer, commit: str, linearizer: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert linearizer("sample", f"{URI}@{commit}", "--n", "4").returncode == 0
    assert (tmp_path / "samples.png").exists()
    assert linearizer("collapse", URI, "--steps", "3", "-o", "finer").returncode == 0
    assert linearizer("collapse", URI).stderr == f"error: {URI} is no folder of yours to write to; add -o FOLDER for the new model\n"
    done = linearizer("study", "spectrum", URI)
    assert "add data.name=NAME" in done.stderr


def test_the_variables_of_the_hub_are_those_of_the_environment(hub: HubServer, commit: str, start: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    fetch(HubAddress(NAME))
    hub.stop()
    out, err = start("pull", URI, HF_HUB_OFFLINE="1").communicate()
    assert out == f"pulled: {URI}@{commit}\nfolder: {home}/hub/models--org--squares/snapshots/{commit}\n", err
