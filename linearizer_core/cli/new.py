"""A plugin from templates: ``new``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.cli.root import app


@app.command("new")
def write_plugin(
    kind: Annotated[str, typer.Argument(help="backbone, operator or task.")],
    name: Annotated[str, typer.Argument(help="Its registered name: lower-case words joined by _.")],
    *,
    into: Annotated[Path, typer.Option(help="The folder in which the new one is made.")] = Path(),
) -> None:
    """Write a complete plugin distribution that works as it stands: linearizer-NAME, ready for your own mathematics."""
    from linearizer_core.scaffold import new_plugin

    folder = new_plugin(kind, name, into)
    typer.echo(f"{folder}: a {kind} that works; put your own in its place\n")
    typer.echo(f"  pip install -e {folder}\n  linearizer list {kind}\n  linearizer check {name}\n  linearizer train {folder / 'train.toml'}")
