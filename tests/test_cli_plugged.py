"""Commands of plugins: listed without being imported, run with all that follows their name, and wrong in one line."""

from __future__ import annotations

import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from unittest import mock

import pytest
import typer

from linearizer_core import plugins
from linearizer_core.cli import app, main
from linearizer_core.cli.plugged import add_plugin_commands
from linearizer_core.specs import CORE_COMMANDS

HOOKS = """
from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec

@hookimpl
def linearizer_commands():
    return [CommandSpec({name!r}, target="fake_cli:{target}", summary="Half circles, bent and straightened")]
"""
CLI = """
import typer
from linearizer_core.errors import DataError

app = typer.Typer()
number = 3

@app.callback()
def root() -> None:
    "Bend lines."

@app.command()
def bend(words: list[str], angle: float = typer.Option(90.0, "--angle", "-a", help="in degrees")) -> None:
    "Bend one."
    if angle < 0:
        raise DataError(f"angle {angle:g}: expected at least 0")
    typer.echo(f"{' '.join(words)} bent by {angle:g}")
"""


def call(*arguments: str) -> tuple[int, str, str]:
    """`linearizer` with these arguments, on an application of its own: what plugins add must not outlive a test."""
    out, err, code = StringIO(), StringIO(), 0
    fresh = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    fresh.registered_commands = list(app.registered_commands)
    with (
        mock.patch.object(sys, "argv", ["linearizer", *arguments]),
        mock.patch("linearizer_core.cli.app", fresh),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def circles(plugin_site):
    (plugin_site.folder / "fake_cli.py").write_text(CLI)
    plugin_site.install("acme", HOOKS.format(name="circles", target="app"))
    return plugin_site


def test_help_shows_a_command_of_a_plugin_without_importing_it(circles) -> None:
    code, out, _ = call("--help")
    assert code == 0
    assert "circles" in out
    assert "Half circles" in out
    assert "fake_cli" not in sys.modules


def test_everything_after_its_name_reaches_the_plugin(circles) -> None:
    assert call("circles", "bend", "a", "line", "--angle", "30") == (0, "a line bent by 30\n", "")
    assert call("circles", "bend", "-a", "5", "--", "--angle") == (0, "--angle bent by 5\n", "")


def test_its_own_help(circles) -> None:
    code, out, _ = call("circles", "bend", "--help")
    assert code == 0
    assert "in degrees" in out
    assert "linearizer circles bend" in out


def test_an_error_of_ours_is_one_line(circles) -> None:
    assert call("circles", "bend", "x", "--angle=-1") == (2, "", "error: angle -1: expected at least 0\n")


def test_a_target_that_is_no_application(plugin_site) -> None:
    (plugin_site.folder / "fake_cli.py").write_text("def app(): pass")
    plugin_site.install("acme", HOOKS.format(name="circles", target="app"))
    code, _, err = call("circles")
    assert code == 2
    assert "target 'fake_cli:app' is a function, expected a typer.Typer" in err


@pytest.mark.parametrize("name", ["train", "study"])
def test_names_of_the_core_are_taken(plugin_site, name: str) -> None:
    plugin_site.install("acme", HOOKS.format(name=name, target="app"))
    status = next(status for status in plugins.statuses() if status.name == "acme")
    assert status.state == "failed"
    assert f"command {name!r} is one of the core" in status.reason


def test_the_reserved_names_are_those_of_the_core() -> None:
    fresh = typer.Typer()
    add_plugin_commands(fresh)
    own = {command.name for command in fresh.registered_commands}
    assert {command.name for command in app.registered_commands} - own == CORE_COMMANDS
