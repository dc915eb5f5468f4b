"""``linearizer demo``: what it prints, and what it says without the extra. The server itself is tested in the browser."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from linearizer_core.errors import ArtifactError, ConfigError
from linearizer_demo import app as app_module
from linearizer_demo import engine as engine_module
from linearizer_demo.cli import app

from .things import Everything


class _Page:
    """What was asked of a page."""

    asked: dict[str, Any]

    def block_thread(self) -> None:
        self.blocked = True


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> _Page:
    made = _Page()

    def launch(page: object, **options: Any) -> str:
        made.asked = options
        return "http://127.0.0.1:7860/"

    monkeypatch.setattr(engine_module, "plugin_tabs", lambda: {"everything": Everything()})
    monkeypatch.setattr(app_module, "build", lambda engine: made)
    monkeypatch.setattr(app_module, "launch", launch)
    return made


def test_the_address_is_printed(page: _Page, saved: dict[str, str]) -> None:
    told = CliRunner().invoke(app, [saved["first"], "--no-open", "--port", "9000"])
    assert told.exit_code == 0
    assert "The demo runs at http://127.0.0.1:7860/" in told.output
    assert page.asked == {"host": None, "port": 9000, "share": False, "open_browser": False, "block": False}
    assert page.blocked


def test_a_model_that_does_not_exist(page: _Page) -> None:
    assert isinstance(CliRunner().invoke(app, ["nowhere"]).exception, ArtifactError)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def refuse(name: str, *rest: Any, **options: Any) -> Any:
        if name == "gradio":
            raise ModuleNotFoundError("No module named 'gradio'", name="gradio")
        return whole(name, *rest, **options)

    monkeypatch.delitem(sys.modules, "gradio", raising=False)
    monkeypatch.setattr(builtins, "__import__", refuse)
    error = CliRunner().invoke(app, []).exception
    assert isinstance(error, ConfigError)
    assert "pip install 'linearizer[demo]'" in str(error)
