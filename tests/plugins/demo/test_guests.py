"""Models of the Hub that visitors name, against a Hub on this machine: bounds, and one model for each commit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from linearizer_core.errors import HubError
from linearizer_core.pretrained import load
from linearizer_demo.engine import DemoEngine
from linearizer_demo.guests import LARGEST_MODEL, HubSource
from tests.pretrained.hub.conftest import home, hub
from tests.pretrained.hub.hub_server import HubServer, as_json

from .things import Everything

__all__ = ["home", "hub"]


@pytest.fixture
def contents(saved: dict[str, str]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(saved["second"].removeprefix("local-dir:")).iterdir()}


def _engine(saved: dict[str, str], *, allowed: bool = True) -> DemoEngine:
    return DemoEngine([saved["first"]], tabs={"everything": Everything()}, hub=allowed)


def test_a_guest_is_fetched_once_by_whatever_name(hub: HubServer, saved: dict[str, str], contents: dict[str, bytes]) -> None:
    commit = hub.add("org/guest", contents)
    engine = _engine(saved)
    for name in ("org/guest", "org/guest@main", f"org/guest@{commit}", "hf-hub:org/guest"):
        samples = engine.run("everything", name, {"strength": 2.0}).shown.outputs["samples"]
        assert torch.equal(samples, load(saved["second"]).sample(4, seed=0).clamp(0, 1))  # type: ignore[arg-type]
    assert len({id(engine.shelf.get(name)) for name in ("org/guest", f"org/guest@{commit}")}) == 1
    asked = len(hub.requests)
    engine.run("everything", "org/guest", {})
    assert len(hub.requests) == asked


def test_a_guest_that_is_too_large_is_refused_before_it_is_fetched(hub: HubServer, saved: dict[str, str], contents: dict[str, bytes]) -> None:
    commit = hub.add("org/guest", contents)
    sizes = {name: len(content) for name, content in contents.items()} | {"model.safetensors": LARGEST_MODEL + 2**20}
    siblings = [{"rfilename": name, "size": size, "blobId": "0" * 40} for name, size in sizes.items()]
    hub.on("blobs", as_json({"id": "org/guest", "sha": commit, "siblings": siblings}))
    with pytest.raises(HubError, match=r"hf-hub:org/guest@main has 257 MB, expected at most 256 of a model that is not on the list; run the demo on your own"):
        _engine(saved).run("everything", "org/guest", {})
    assert not hub.asked("/resolve/|/tree/")


def test_what_does_not_belong_to_the_model_does_not_count(hub: HubServer, contents: dict[str, bytes]) -> None:
    commit = hub.add("org/guest", {**contents, "optimizer.bin": bytes(10**6)})
    assert HubSource(largest_model=10**6).pin("hf-hub:org/guest") == f"hf-hub:org/guest@{commit}"


def test_a_guest_of_large_examples_is_refused_before_it_is_built(
    hub: HubServer, saved: dict[str, str], contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads(contents["config.json"])
    config["data"]["shape"] = [3, 256, 257]
    hub.add("org/guest", {**contents, "config.json": json.dumps(config).encode()})
    monkeypatch.setattr("linearizer_demo.guests.load", lambda pinned: pytest.fail("it was built"))
    with pytest.raises(HubError, match=r"has examples of shape \(3, 256, 257\), expected at most 196,608 numbers in all"):
        _engine(saved).run("everything", "org/guest", {})


def test_what_is_offered_has_no_bounds(hub: HubServer, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/guest", contents)
    monkeypatch.setattr("linearizer_demo.engine.HubSource", lambda: HubSource(largest_model=1))
    engine = DemoEngine(["hf-hub:org/guest"], tabs={"everything": Everything()})
    assert engine.run("everything", "hf-hub:org/guest", {}).seconds > 0
    assert engine.run("everything", "org/guest", {}).seconds > 0


def test_without_the_hub_it_is_not_asked(hub: HubServer, saved: dict[str, str], contents: dict[str, bytes]) -> None:
    hub.add("org/guest", contents)
    with pytest.raises(Exception, match="there is no model 'org/guest' here"):
        _engine(saved, allowed=False).run("everything", "org/guest", {})
    assert not hub.requests
