"""The application that all commands register with, and how they print."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from linearizer_core import __version__
from linearizer_core.errors import UnknownNameError
from linearizer_core.specs import KINDS, PLURALS, Kind

app = typer.Typer(
    name="linearizer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_PIPE_WIDTH = 200


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(*, version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Networks that are linear between induced vector spaces: f(x) = gy^-1(A gx(x))."""


def kinds_named(given: str) -> tuple[Kind, ...]:
    """The kinds that a user means by one word.

    Raises:
        UnknownNameError: for a word that is neither a kind, nor its plural, nor "all".
    """
    if given == "all":
        return KINDS
    chosen: tuple[Kind, ...] = tuple(kind for kind in KINDS if given in (kind, PLURALS[kind]))
    if not chosen:
        raise UnknownNameError(f"there is no kind {given!r}; kinds are {', '.join(KINDS)}, and all, as in `linearizer list all PATTERN`")
    return chosen


def print_json(value: Any) -> None:
    """A value as indented JSON on stdout."""
    typer.echo(json.dumps(value, indent=2))


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """A table on stdout; wide where nobody sees it, so that lines stay whole in a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    console.print(table)
