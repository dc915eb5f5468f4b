"""What the events of the page do, without a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
import pytest

from linearizer_core.demo import Control
from linearizer_core.pretrained import Pretrained
from linearizer_demo.app import _choose, _run
from linearizer_demo.endpoints import _function
from linearizer_demo.engine import CALM, DemoEngine
from linearizer_demo.parts import Part

from .things import Everything


class Held(Part[Control]):
    """A control of one component."""

    components = [None]

    def read(self, control: Control, raw: Sequence[Any]) -> tuple[Any, str]:
        if raw[0] == "break":
            raise OSError("secret detail")
        return raw[0], ""

    def updates(self, control: Control) -> list[Any]:
        return [control.name]


PARTS = [Held() for _ in range(8)]
NAMES = ["count", "strength", "seed", "mood", "upside_down", "parts", "picture", "drawing"]


@pytest.mark.parametrize("what", ["page", "endpoint", "model"])
def test_controls_are_made_once_for_each_action(engine: DemoEngine, saved: dict[str, str], monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    first = saved["first"]
    endpoint = _function(engine, "everything", first, engine.controls("everything", first), Everything().outputs())
    acts: dict[str, Callable[[], Any]] = {
        "page": lambda: _run(engine, "everything", PARTS, first, *[None] * 8),
        "endpoint": lambda: endpoint(first, *[None] * 8),
        "model": lambda: _choose(engine, "everything", PARTS, first),
    }
    made, whole = [], Everything.controls

    def controls(self: Everything, pretrained: Pretrained) -> list[Control]:
        made.append(pretrained)
        return whole(self, pretrained)

    monkeypatch.setattr(Everything, "controls", controls)
    acts[what]()
    assert len(made) == 1


def test_what_breaks_while_values_are_read_is_the_calm_message(engine: DemoEngine, saved: dict[str, str]) -> None:
    told = _run(engine, "everything", PARTS, saved["first"], *[None] * 7, "break")
    assert CALM[1:] in told
    assert "secret" not in told


def test_another_model_sets_the_controls_even_where_it_has_nothing_to_show(engine: DemoEngine, saved: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    *updates, shown = _choose(engine, "everything", PARTS, saved["second"])
    assert updates == NAMES
    assert "lz-figures" in shown

    def show(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(Everything, "show", show)
    *updates, shown = _choose(engine, "everything", PARTS, saved["second"])
    assert updates == NAMES
    assert "lz-alert" in shown
    *updates, shown = _choose(engine, "everything", PARTS, "/etc")
    assert updates == [gr.skip()] * 8
    assert "there is no model" in shown.replace("There", "there")
