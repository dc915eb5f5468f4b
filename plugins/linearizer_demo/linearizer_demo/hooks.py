"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import CommandSpec


@hookimpl
def linearizer_commands() -> list[CommandSpec]:
    return [
        CommandSpec("demo", target="linearizer_demo.cli:app", summary="try trained models in the browser"),
        CommandSpec("space", target="linearizer_demo.space.cli:app", summary="make a Gradio Space for trained models"),
    ]
