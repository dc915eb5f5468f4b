"""To the Hub: the files of the layout and no others, in one commit, whatever happens on the way."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import TOKEN, Answer, Command, HubServer, said, stored

from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained import Pretrained, load
from linearizer_core.pretrained.hub import commit_files, open_repository, pull, push
from linearizer_core.pretrained.hub.address import HubAddress

# huggingface_hub 2.4 sends large files over plain HTTP in a way that its own HTTP client calls old.
pytestmark = [pytest.mark.usefixtures("logged_in"), pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")]

STRANGE = ("checkpoint.pt", "optimizer.bin", ".env", "notes.txt", "config.toml")


def named(contents: dict[str, bytes], repo: str) -> dict[str, bytes]:
    """The files as they lie in the repository: their card says how they are loaded from there."""
    card = contents["README.md"].decode()
    assert 'load("local-dir:PATH")' in card
    here = card.replace('load("local-dir:PATH")', f'load("hf-hub:{repo}")').replace("local-dir:PATH --n", f"hf-hub:{repo} --n")
    here = here.replace("doctor local-dir:PATH", f"doctor hf-hub:{repo}").replace("pip install linearizer\n", "pip install 'linearizer[hub]'\n")
    return {**contents, "README.md": here.replace("flow on squares", "squares").encode()}


def test_a_card_names_the_repository_unless_somebody_edited_it(hub: HubServer, model: Pretrained, tmp_path: Path) -> None:
    folder = model.save_pretrained(tmp_path / "saved", address="flow.squares")
    push(folder, "org/one")
    pushed = hub.repos["org/one"].commits[-1].files["README.md"].decode()
    assert pushed == Pretrained.from_pretrained(folder).card("hf-hub:org/one")
    assert "flow.squares" not in pushed
    edited = (folder / "README.md").read_text() + "\nMy own words on local-dir:PATH.\n"
    (folder / "README.md").write_text(edited)
    push(folder, "org/two")
    assert hub.repos["org/two"].commits[-1].files["README.md"].decode() == edited
    (folder / "README.md").write_bytes(b"\xff no UTF-8")
    with pytest.raises(ArtifactError, match=r"README\.md is no text in UTF-8"):
        push(folder, "org/three")


def test_what_is_pushed_comes_back_with_the_same_bits(hub: HubServer, model: Pretrained, folder: Path, contents: dict[str, bytes], tmp_path: Path) -> None:
    url = push(folder, "org/squares")
    first, second = hub.repos["org/squares"].commits  # the Hub makes the first one with the repository
    assert url == f"{hub.url}/org/squares/commit/{second.sha}"
    contents = named(contents, "org/squares")
    assert {name: second.files[name] for name in contents} == contents
    assert second.files.keys() - contents.keys() == first.files.keys() == {".gitattributes"}
    pulled = pull(HubAddress("org/squares"), tmp_path / "back")
    assert pulled.address == HubAddress("org/squares", second.sha)
    assert {path.name: path.read_bytes() for path in pulled.folder.iterdir()} == contents
    loaded = load("hf-hub:org/squares")
    assert loaded.source == pulled.address
    assert replace(loaded.source, revision="main") == HubAddress("org/squares")
    assert torch.equal(loaded.sample(3, seed=1), model.sample(3, seed=1))
    assert loaded.log == model.log
    before, after = model.model.state_dict(), loaded.model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_of_a_run_only_the_saved_model_leaves_the_machine(
    hub: HubServer, linearizer: Command, folder: Path, contents: dict[str, bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    folder.rename(run / "model")
    for name in STRANGE:
        for place in (run, run / "checkpoints", run / "model"):
            (place / name).write_text(f"secret {name}")
    (run / "model" / "samples").mkdir()
    (run / "model" / "samples" / "000001.png").write_bytes(contents["singular_values.png"])
    dry = linearizer("push", str(run), "org/squares", "--dry-run")
    assert dry.returncode == 0
    assert not hub.requests
    done = linearizer("push", str(run), "org/squares")
    assert done.returncode == 0, done.stderr
    commit = hub.repos["org/squares"].commits[-1]
    assert done.stdout == f"pushed: {hub.url}/org/squares/commit/{commit.sha}\n"
    assert commit.files.keys() - {".gitattributes"} == contents.keys()
    assert not any(b"secret" in request.body for request in hub.asked("."))
    for name, content in named(contents, "org/squares").items():
        assert f"{name} {len(content):,} bytes" in " ".join(dry.stdout.split())
    shown, _, kept = dry.stdout.partition("stays here: ")
    assert not any(name in shown for name in STRANGE)
    assert kept.strip().split(", ") == sorted([*STRANGE, "samples"])


def test_a_dry_run_needs_neither_token_nor_network(
    hub: HubServer, linearizer: Command, folder: Path, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.stop()
    done = linearizer("push", str(folder), "org/squares", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f"in all {sum(map(len, named(contents, 'org/squares').values())):,} bytes" in " ".join(done.stdout.split())


@pytest.mark.parametrize("damage", ["truncated", "edited", "foreign picture"])
def test_a_broken_model_is_never_pushed(hub: HubServer, folder: Path, damage: str) -> None:
    if damage == "truncated":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "edited":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "sha256": {**config["sha256"], "model.safetensors": "0" * 64}}))
    else:
        (folder / "photo.png").write_bytes(b"GIF89a")
    with pytest.raises(ArtifactError):
        push(folder, "org/squares")
    assert not hub.requests


def test_the_same_again_is_no_commit(hub: HubServer, folder: Path) -> None:
    assert push(folder, "org/squares") == push(folder, "org/squares")
    assert len(hub.repos["org/squares"].commits) == 2


def test_files_of_a_former_model_go_and_files_of_others_stay(hub: HubServer, model: Pretrained, folder: Path, contents: dict[str, bytes]) -> None:
    hub.add("org/squares", {**contents, "old.png": contents["singular_values.png"], "LICENSE": b"Apache", "sub/config.json": b"{}"})
    replace(model, operator=None, collapse=None, pictures={}, log=()).push_to_hub("org/squares")
    assert hub.repos["org/squares"].commits[-1].files.keys() == {"config.json", "model.safetensors", "metrics.json", "README.md", "LICENSE", "sub/config.json"}
    assert load("hf-hub:org/squares").operator is None


@pytest.mark.parametrize("theirs", [{"config.json": b'{"model_type": "bert"}', "model.safetensors": b"x"}, {"model.safetensors": b"x"}, {"config.json": b"[]"}])
def test_a_model_of_another_kind_is_not_overwritten(hub: HubServer, folder: Path, theirs: dict[str, bytes]) -> None:
    hub.add("org/bert", theirs)
    with pytest.raises(HubError, match="holds a model that is not a linearizer"):
        push(folder, "org/bert")
    assert len(hub.repos["org/bert"].commits) == 1
    assert not hub.asked("PUT|/commit/")


def test_private(hub: HubServer, linearizer: Command, folder: Path) -> None:
    assert linearizer("push", str(folder), "org/hidden", "--private").returncode == 0
    assert hub.repos["org/hidden"].private
    hub.add("org/open", {".gitattributes": b""})
    done = linearizer("push", str(folder), "org/open", "--private")
    assert done.returncode == 2
    assert "org/open exists and is public" in done.stderr
    assert len(hub.repos["org/open"].commits) == 1
    assert not hub.asked("/api/models/org/open/(preupload|commit)")


def test_somebody_else_pushes_meanwhile(hub: HubServer, folder: Path) -> None:
    hub.on("/preupload/", lambda _: hub.add("org/squares", {"config.json": b"theirs"}) and None)
    with pytest.raises(HubError, match="somebody else changed the repository meanwhile"):
        push(folder, "org/squares")
    assert hub.repos["org/squares"].commits[-1].files == {"config.json": b"theirs"}


def test_a_push_that_fails_half_way_leaves_no_commit_and_goes_on(hub: HubServer, folder: Path, contents: dict[str, bytes]) -> None:
    hub.on("PUT " + stored(contents["model.safetensors"]), said(403, "expired"))
    with pytest.raises(HubError, match="expired"):
        push(folder, "org/squares")
    assert len(hub.repos["org/squares"].commits) == 1
    arrived = set(hub.large)
    push(folder, "org/squares")
    assert hub.repos["org/squares"].commits[-1].files.keys() == {*contents, ".gitattributes"}
    assert all(len(hub.asked(f"PUT /{digest}")) == 1 for digest in arrived)


def test_a_push_that_is_killed_leaves_no_commit_and_goes_on(
    hub: HubServer, start: Callable[..., subprocess.Popen[str]], folder: Path, contents: dict[str, bytes]
) -> None:
    hub.on("/commit/main", lambda _: time.sleep(30) or Answer(500))
    process = start("push", str(folder), "org/squares")
    while not hub.asked("/commit/main"):
        assert process.poll() is None, process.stderr
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert len(hub.repos["org/squares"].commits) == 1
    sent = len(hub.asked("PUT"))
    assert sent
    push(folder, "org/squares")
    assert len(hub.repos["org/squares"].commits) == 2
    assert {name: hub.repos["org/squares"].commits[-1].files[name] for name in contents} == named(contents, "org/squares")
    assert len(hub.asked("PUT")) == sent


def test_the_token_is_sent_to_the_hub_only_and_never_shown(hub: HubServer, linearizer: Command, folder: Path) -> None:
    assert linearizer("push", str(folder), "org/squares").returncode == 0
    load("hf-hub:org/squares")
    assert all("authorization" not in request.headers for request in hub.to_store)
    assert any(request.headers.get("authorization") == f"Bearer {TOKEN}" for request in hub.requests)
    hub.on("/repos/create", lambda request: said(418, f"do not like {request.headers['authorization']}\x1b[2J"))
    done = linearizer("push", str(folder), "org/squares")
    assert done.returncode == 2
    assert "do not like Bearer *** [2J" in done.stderr
    assert TOKEN not in done.stdout + done.stderr


def test_without_a_token(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(HubError, match=r"org/squares: the Hub wants to know who you are.*hf auth login"):
        push(folder, "org/squares")


def test_without_the_right_to_write(hub: HubServer, folder: Path) -> None:
    with pytest.raises(HubError, match=r"your token does not allow this .*rights.*others"):
        push(folder, "others/squares")


def test_a_space_in_one_commit(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print()")
    space = open_repository("org/demo", kind="space", private=True)
    commit_files(space, {"app.py": tmp_path / "app.py", "README.md": b"---\nsdk: gradio\n---\n"}, "a demo", delete=[".gitattributes"])
    assert json.loads(hub.asked("/api/repos/create")[0].body)["sdk"] == "gradio"
    assert hub.repos["org/demo"].commits[-1].files == {"app.py": b"print()", "README.md": b"---\nsdk: gradio\n---\n"}
    assert len(hub.repos["org/demo"].commits) == 2
