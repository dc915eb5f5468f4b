"""A plugin from templates: ``new``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.cli.root import app


@app.command("new")
def write_plugin(
    kind: Annotated[str, typer.Argument(help="backbone, operator or task.")],
    name: Annotated[str, typer.Argument(help="Its name in configurations: lower-case words joined by _, such as swirl.")],
    *,
    into: Annotated[Path, typer.Option(help="The folder in which the new one is made.")] = Path(),
) -> None:
    """Write a complete plugin distribution that works as it stands: linearizer-NAME, ready for your own mathematics."""
    from linearizer_core.scaffold import FIRST_FILES, new_plugin

    folder = new_plugin(kind, name, into)
    typer.echo(f"{folder}: {kind} {name}, which works as it stands; put your own mathematics into linearizer_{name}/{FIRST_FILES[kind]}\n")
    steps = [
        ["pip", "install", "-e", str(folder)],
        ["linearizer", "list", kind],
        ["linearizer", "check", name],
        ["linearizer", "train", str(folder / "train.toml")],
    ]
    typer.echo("\n".join(f"  {shlex.join(step)}" for step in steps))
