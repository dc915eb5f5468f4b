"""The command line. Importing it, its help and its listings import no torch.

- `linearizer_core.cli.listings`: ``plugins``, ``list``, ``describe``
- `linearizer_core.cli.new`: ``new``
- `linearizer_core.cli.check`: ``check``
- `linearizer_core.cli.runs`: ``train``, ``collapse``, ``sample``, ``eval``
- `linearizer_core.cli.studies`: ``study``
- `linearizer_core.cli.hub`: ``push``, ``pull``
- `linearizer_core.cli.plugged`: the commands of plugins
"""

from __future__ import annotations

import typer

from linearizer_core.cli import listings, new, check, runs, studies, hub  # isort: skip  (in the order of the help)
from linearizer_core.cli.plugged import add_plugin_commands
from linearizer_core.cli.root import app
from linearizer_core.errors import LinearizerError
from linearizer_core.extras import missing_extra

__all__ = ["app", "check", "hub", "listings", "main", "new", "runs", "studies"]


def main() -> None:
    """Entry point of the console script: an error of ours is one message on stderr and exit code 2."""
    add_plugin_commands(app)
    try:
        app()  # an early end of the reader (`| head`) is handled by typer and rich: no traceback, exit code 1
    except (LinearizerError, ModuleNotFoundError) as error:
        message = missing_extra(error) if isinstance(error, ModuleNotFoundError) else str(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        raise SystemExit(2) from None
