"""The demo without gradio: what is offered, what is refused, and many visitors at once."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from linearizer_core.demo import Control, Shown
from linearizer_core.errors import ArtifactError, ConfigError, LinearizerError
from linearizer_core.pretrained import Pretrained, load
from linearizer_core.specs import PretrainedSpec
from linearizer_demo import engine as engine_module
from linearizer_demo.engine import CALM, DemoEngine, plugin_tabs
from linearizer_demo.shelf import Shelf

from .things import Everything, Never


def _samples(engine: DemoEngine, model: str, **values: object) -> torch.Tensor:
    shown = engine.run("everything", model, values).shown.outputs["samples"]
    assert isinstance(shown, torch.Tensor)
    return shown


def test_the_engine_knows_no_gradio() -> None:
    code = "import sys, linearizer_demo.engine; sys.exit('gradio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tabs_are_those_that_a_model_can_serve(engine: DemoEngine, saved: dict[str, str]) -> None:
    assert list(engine.tabs) == ["everything"]
    assert engine.serving("everything") == tuple(saved.values())


def test_the_favourite_of_a_tab_comes_first(saved: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Everything, "favourite", saved["second"])
    engine = DemoEngine(list(saved.values()), tabs={"everything": Everything()})
    assert engine.serving("everything") == (saved["second"], saved["first"], saved["colour"])


def test_no_tab_at_all(saved: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="no tab of the demo can use local-dir"):
        DemoEngine([saved["first"]], tabs={"never": Never()})


def test_a_model_named_at_the_start_must_load() -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        DemoEngine(["nowhere"], tabs={"everything": Everything()})


def test_a_damaged_model_of_the_registry_is_left_out(saved: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = engine_module.plugins.specs, PretrainedSpec("broken.model", location="linearizer_registry:nowhere", summary="nothing")
    monkeypatch.setattr(engine_module.plugins, "specs", lambda kind: {saved["first"]: None, "broken": broken} if kind == "pretrained" else whole(kind))
    with pytest.warns(UserWarning, match="the model 'broken' is left out"):
        assert DemoEngine(tabs={"everything": Everything()}).serving("everything") == (saved["first"],)


def test_a_result_is_that_of_its_values(engine: DemoEngine, saved: dict[str, str]) -> None:
    first = saved["first"]
    result = engine.run("everything", first, {"count": 2, "seed": 5, "strength": 2.0})
    assert torch.equal(result.shown.outputs["samples"], load(first).sample(2, seed=5).clamp(0, 1))  # type: ignore[arg-type]
    assert 0 < result.seconds < 60
    assert torch.equal(_samples(engine, first), _samples(engine, first, seed=0, count=4))
    assert not torch.equal(_samples(engine, first), _samples(engine, first, seed=1))


@pytest.mark.parametrize(
    ("tab", "model", "values", "words"),
    [
        ("everything", "first", {"seed": -1}, "seed = -1"),
        ("everything", "first", {"sed": 1}, "sed: no such control; there are count"),
        ("elsewhere", "first", {}, "there is no tab 'elsewhere'"),
        ("everything", "/etc", {}, "there is no model '/etc' here"),
        ("everything", "local-dir:/etc", {}, "there is no model 'local-dir:/etc' here"),
        ("everything", "hf-hub:../../etc", {}, "there is no model"),
        ("everything", "a/..", {}, "there is no model"),
        ("everything", "x" * 10_000, {}, "there is no model"),
    ],
)
def test_what_is_refused(engine: DemoEngine, saved: dict[str, str], tab: str, model: str, values: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        engine.run(tab, saved.get(model, model), values)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 2000


def test_the_unexpected_is_one_calm_message_and_a_line_in_the_log(engine: DemoEngine, saved: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(LinearizerError) as caught:
        engine.run("everything", saved["first"], {"seed": 13})
    assert str(caught.value) == CALM
    assert "secret detail" in caplog.text


def test_values_are_read_for_the_controls_of_the_model(engine: DemoEngine, saved: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    def read(controls: Sequence[Control]) -> dict[str, Any]:
        return {control.name: 2 for control in controls if control.name == "count"}

    assert torch.equal(engine.run("everything", saved["first"], read).shown.outputs["samples"], _samples(engine, saved["first"], count=2))  # type: ignore[arg-type]

    def fail(controls: Sequence[Control]) -> dict[str, Any]:
        raise OSError("secret detail")

    with caplog.at_level(logging.ERROR), pytest.raises(LinearizerError) as caught:
        engine.run("everything", saved["first"], fail)
    assert str(caught.value) == CALM
    assert "secret detail" in caplog.text


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("/home/me/.cache/huggingface/hub/models--a--b/config.json is damaged", "org/name is damaged"),
        ("read local-dir:/srv/models/one (3 files), '/srv/models/one'", "read org/name (3 files), 'org/name'"),
        ("see https://huggingface.co/org/name, or a/b/c, 1/2", "see https://huggingface.co/org/name, or a/b/c, 1/2"),
    ],
)
def test_no_folder_of_this_machine_is_told(
    saved: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, message: str, told: str
) -> None:
    engine = DemoEngine({"org/name": saved["first"]}, tabs={"everything": Everything()})

    def fail(*_: object, **__: object) -> Shown:
        raise ArtifactError(message)

    monkeypatch.setattr(Everything, "show", fail)
    with pytest.raises(LinearizerError) as caught:
        engine.run("everything", "org/name", {})
    assert str(caught.value) == told
    assert (message in caplog.text) == (message != told)


def test_a_broken_tab_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def load_target(self) -> object:
            raise ImportError("no wings")

    whole = engine_module.plugins.specs
    monkeypatch.setattr(engine_module.plugins, "specs", lambda kind: {**whole(kind), "broken": Broken()})
    with pytest.warns(UserWarning, match="the tab 'broken' is left out: no wings"):
        assert "broken" not in plugin_tabs()


def test_many_visitors_of_several_models_get_their_own_bits(engine: DemoEngine, saved: dict[str, str]) -> None:
    expected = {(name, seed): _samples(engine, saved[name], seed=seed) for name in saved for seed in range(3)}
    asked = [*expected] * 20
    with ThreadPoolExecutor(32) as visitors:
        answers = list(visitors.map(lambda each: _samples(engine, saved[each[0]], seed=each[1]), asked))
    assert all(torch.equal(answer, expected[each]) for each, answer in zip(asked, answers, strict=True))


def test_one_computes_at_a_time(saved: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    threads, whole = set(), Everything.show

    def show(self: Everything, pretrained: Pretrained, **values: object) -> object:
        threads.add(threading.current_thread().name)
        return whole(self, pretrained, **values)

    monkeypatch.setattr(Everything, "show", show)
    engine = DemoEngine([saved["first"]], tabs={"everything": Everything()})
    with ThreadPoolExecutor(8) as visitors:
        list(visitors.map(lambda seed: engine.run("everything", saved["first"], {"seed": seed}), range(10)))
    assert len(threads) == 1


# --- the shelf -------------------------------------------------------------------------------------


class Hub:
    """Repositories whose commits are told, and what was loaded of them."""

    def __init__(self, saved: dict[str, str], loaded: list[str], act: Callable[[str], None] = lambda pinned: None) -> None:
        self.commits: dict[str, str] = {}
        self.asked: list[str] = []
        self._saved, self._loaded, self._act = saved, loaded, act

    def pin(self, address: str) -> str:
        self.asked.append(address)
        return f"{address.partition('@')[0]}@{self.commits.get(address, '1')}"

    def load(self, pinned: str) -> Pretrained:
        self._loaded.append(pinned)
        self._act(pinned)
        return load(self._saved["first"])


def _shelf(saved: dict[str, str], capacity: int, loaded: list[str], guests: Hub | None = None, pause: float = 0.0) -> Shelf:
    def fetch(address: str) -> Pretrained:
        loaded.append(address)
        time.sleep(pause)
        return load(saved["first"])

    return Shelf({name: name for name in "abc"}, capacity=capacity, load=fetch, guests=guests)


def test_the_least_recently_used_model_makes_room(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    shelf = _shelf(saved, 2, loaded)
    for name in "abacab":
        shelf.get(name)
    assert loaded == ["a", "b", "c", "b"]


def test_a_model_is_loaded_once_however_many_ask(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    shelf = _shelf(saved, 3, loaded, pause=0.05)
    with ThreadPoolExecutor(16) as visitors:
        answers = set(map(id, visitors.map(shelf.get, "abc" * 16)))
    assert sorted(loaded) == ["a", "b", "c"]
    assert len(answers) == 3


def test_guests_are_kept_by_their_commit(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    hub = Hub(saved, loaded)
    shelf = _shelf(saved, 3, loaded, hub)
    names = ("org/name", "hf-hub:org/name", "org/name@main", "org/name@1")
    assert len({id(shelf.get(name)) for name in names * 2}) == 1
    assert loaded == ["hf-hub:org/name@1"]
    assert hub.asked == ["hf-hub:org/name", "hf-hub:org/name@main", "hf-hub:org/name@1"]
    with pytest.raises(ConfigError, match=r"choose one of a, b, c$"):
        _shelf(saved, 3, loaded).get("org/name")


def test_guests_never_displace_what_is_offered(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    shelf = _shelf(saved, 1, loaded, Hub(saved, loaded))
    for name in ("a", "org/1", "org/2", "org/3", "a", "org/3", "org/2", "org/1"):
        shelf.get(name)
    assert loaded == ["a", "hf-hub:org/1@1", "hf-hub:org/2@1", "hf-hub:org/3@1", "hf-hub:org/1@1"]


def test_a_guest_that_comes_again_is_looked_up_again(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    hub = Hub(saved, loaded)
    shelf = _shelf(saved, 1, loaded, hub)
    shelf.get("org/1")
    hub.commits["hf-hub:org/1"] = "2"
    for name in ("org/1", "org/2", "org/3", "org/1"):
        shelf.get(name)
    assert loaded == ["hf-hub:org/1@1", "hf-hub:org/2@1", "hf-hub:org/3@1", "hf-hub:org/1@2"]


def test_a_model_of_the_hub_that_is_offered_is_no_guest(saved: dict[str, str]) -> None:
    loaded: list[str] = []
    shelf = Shelf({"mine": "hf-hub:org/name"}, capacity=1, load=lambda address: loaded.append(address) or load(saved["first"]), guests=Hub(saved, []))  # type: ignore[func-returns-value]
    assert shelf.get("org/name") is shelf.get("mine")
    assert loaded == ["hf-hub:org/name"]


def test_slow_downloads_hold_up_nobody_else(saved: dict[str, str]) -> None:
    started, done = threading.Event(), threading.Event()

    def wait(pinned: str) -> None:
        started.set()
        assert done.wait(30)

    shelf = _shelf(saved, 3, [], Hub(saved, [], wait))
    with ThreadPoolExecutor(4) as visitors:
        slow = [visitors.submit(shelf.get, f"org/{number}") for number in range(4)]
        assert started.wait(30)
        shelf.get("a")
        while sum(each.done() for each in slow) < 2:
            time.sleep(0.01)
        done.set()
    refused = [each.exception() for each in slow if each.exception()]
    assert len(refused) == 2
    assert all("try again in a minute" in str(error) for error in refused)


def test_a_failed_load_is_not_kept(saved: dict[str, str]) -> None:
    loaded: list[str] = []

    def fail(pinned: str) -> None:
        if len(loaded) == 1:
            raise ArtifactError("half of it")

    shelf = _shelf(saved, 1, loaded, Hub(saved, loaded, fail))
    with pytest.raises(ArtifactError, match="half of it"):
        shelf.get("org/name")
    shelf.get("org/name")
    assert len(loaded) == 2


def test_a_shelf_for_nothing() -> None:
    with pytest.raises(ConfigError, match="capacity = 0"):
        Shelf({}, capacity=0, load=load, guests=None)


def test_a_folder_may_be_named_by_who_starts_the_demo(saved: dict[str, str]) -> None:
    folder = saved["first"].removeprefix("local-dir:")
    assert Path(folder).is_dir()
    assert DemoEngine([folder], tabs={"everything": Everything()}).serving("everything") == (folder,)
