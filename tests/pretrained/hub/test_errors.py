"""Whatever goes wrong between here and the Hub is one line that says the cause and the fix."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import pytest
from hub_server import Answer, Command, HubServer, as_json, closed_port, said
from huggingface_hub import constants

from linearizer_core.errors import HubError
from linearizer_core.pretrained import load
from linearizer_core.pretrained.hub import HubAddress, pull, push

NAME = "org/squares"
URI = f"hf-hub:{NAME}"
HTML = Answer(200, b"<html><body>Welcome to the hotel. Please log in.</body></html>", {"Content-Type": "text/html"})


@pytest.fixture
def commit(hub: HubServer, contents: dict[str, bytes]) -> str:
    return hub.add(NAME, contents)


def limit(headers: dict[str, str]) -> Answer:
    return Answer(429, b"slow down", headers)


@pytest.mark.parametrize(
    ("step", "answer", "expected"),
    [
        ("/revision/main$", said(404, "Repository not found", "RepoNotFound"), "there is no such repository at http"),
        ("/revision/main$", said(401, "Repository not found", "RepoNotFound"), "there is no such repository at http"),
        ("/revision/main$", said(401, "Invalid credentials in Authorization header"), "does not accept your token (Invalid credentials"),
        ("/revision/main$", said(403, "Access to this resource is disabled."), "the Hub has disabled the repository"),
        ("/revision/main$", said(403, "no"), "your token does not allow this (no)"),
        ("/revision/main$", limit({"Retry-After": "17"}), "too many requests; try again in 17 seconds"),
        ("/revision/main$", limit({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), "try again after Wed, 21 Oct 2026 07:28:00 GMT"),
        ("/revision/main$", limit({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}), "try again in 55 seconds"),
        ("/revision/main$", limit({}), "try again in a few minutes"),
        ("/revision/main$", Answer(500), "has a fault of its own (status 500); try again later"),
        ("/revision/main$", Answer(503, HTML.body, HTML.headers), "has a fault of its own (status 503)"),
        ("/revision/main$", Answer(418, b"a\nteapot\x1b[31m" + b"x" * 999), "refused (status 418: a teapot [31mxxx"),
        ("/revision/main$", HTML, "did not answer as a Hub does"),
        ("/revision/main$", as_json([]), "did not answer as a Hub does"),
        ("/revision/main$", as_json({"id": NAME}), "did not answer as a Hub does"),
        ("/revision/main$", as_json({"id": NAME, "sha": "../../x"}), "is no revision of org/squares"),
        ("/revision/main$", Answer(302, headers={"Location": "http://127.0.0.1:1/login"}), "cannot be reached (ConnectError"),
        ("blobs", said(403, "restricted", "GatedRepo"), "the repository is gated: ask for access"),
        ("blobs", limit({"Retry-After": "3"}), "try again in 3 seconds"),
        ("blobs", HTML, "did not answer as a Hub does"),
        ("blobs", Answer(200, b"{", size=5, drop=1), "cannot be reached (RemoteProtocolError"),
        ("HEAD .*config.json", said(404, "Entry not found", "EntryNotFound"), "a file is missing there (Entry not found)"),
        ("HEAD .*config.json", HTML, "did not answer as a Hub does"),
        ("GET .*config.json", HTML, "the transfer broke off (Consistency check failed"),
        ("GET .*config.json", said(403, "restricted", "GatedRepo"), "the repository is gated"),
        ("GET .*metrics.json", said(403, "expired"), "your token does not allow this (expired)"),
    ],
)
def test_answers(hub: HubServer, commit: str, linearizer: Command, step: str, answer: Answer, expected: str) -> None:
    hub.on(step, answer)
    done = linearizer("pull", URI)
    assert done.returncode == 2
    message = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert expected in message
    assert len(message) < 600
    assert message.isprintable()
    assert "Traceback" not in done.stderr
    assert linearizer("pull", URI).returncode == 0  # nothing stays behind that would be in the way


def test_what_is_not_there(hub: HubServer, commit: str) -> None:
    with pytest.raises(HubError, match=r"hf-hub:org/nothing@main: there is no such repository at .*, or you may not see it; check the name"):
        load("hf-hub:org/nothing")
    with pytest.raises(HubError, match=f"{URI}@v9: the repository has no such revision; write a branch, a tag or a commit"):
        load(f"{URI}@v9")
    with pytest.raises(HubError, match="the repository has no such revision"):
        load(f"{URI}@{'0' * 40}")
    hub.repos[NAME].private = True
    with pytest.raises(HubError, match=r"or you may not see it; .* where it is private log in with `hf auth login`, or set HF_TOKEN"):
        load(URI)
    hub.repos[NAME].private, hub.repos[NAME].gated = False, True
    with pytest.raises(HubError, match=r"the repository is gated: ask for access on its page at .*, then log in"):
        load(URI)


def test_a_slow_answer_is_waited_for(hub: HubServer, commit: str) -> None:
    hub.on(".", lambda _: time.sleep(0.1), times=99)
    assert load(URI).source == HubAddress(NAME, commit)


def test_nobody_there(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", closed_port())
    for run in (lambda: load(URI), lambda: push(folder, NAME)):
        with pytest.raises(HubError, match=r"http://127.0.0.1:\d+ cannot be reached \(ConnectError: .*\); check the network, proxies and HF_ENDPOINT"):
            run()
    monkeypatch.setattr(constants, "ENDPOINT", "localhost")
    with pytest.raises(HubError, match="localhost cannot be reached"):
        load(URI)


def test_a_push_offline(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        push(folder, NAME)


@pytest.mark.usefixtures("commit")
def test_a_cache_that_cannot_be_written(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(HubError, match=r"file/hub\S* cannot be read or written \(Not a directory\); make room or give rights there, or set HF_HOME"):
        load(URI)


@pytest.mark.usefixtures("commit")
def test_no_room(hub: HubServer, contents: dict[str, bytes], tmp_path: Path) -> None:
    largest, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(contents["model.safetensors"]) - 1, hard))
    try:
        with pytest.raises(HubError, match=r"cannot be read or written \(File too large\); make room"):
            pull(HubAddress(NAME), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    assert not (tmp_path / "out").exists()
    pull(HubAddress(NAME), tmp_path / "out")


def test_without_the_extra(linearizer: Command, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("huggingface_hub", "huggingface_hub.utils"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HubError, match=r"the package 'huggingface_hub' is not installed; pip install 'linearizer\[hub\]'"):
        load(URI)
    for command in (["pull", URI], ["push", str(folder), NAME]):
        assert linearizer(*command).stderr == "error: the package 'huggingface_hub' is not installed; pip install 'linearizer[hub]'\n"


def test_what_is_no_folder_is_not_pushed(hub: HubServer, linearizer: Command, tmp_path: Path) -> None:
    assert "nowhere is no folder on this machine" in linearizer("push", "nowhere", NAME).stderr
    assert "is not a saved linearizer" in linearizer("push", str(tmp_path), NAME).stderr
    assert "no name of a repository" in linearizer("push", str(tmp_path), "../x").stderr
    assert not hub.requests


def test_the_card_is_refused(hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    hub.on("validate-yaml", Answer(400, json.dumps({"errors": [{"message": "license is odd"}]}).encode()))
    with pytest.raises(HubError, match=r"refused \(status 400: license is odd\)"):
        push(folder, NAME)
