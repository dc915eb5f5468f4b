"""The commands of plugins: ``linearizer NAME ...``, imported when they run."""

from __future__ import annotations

from typing import Any

import typer

from linearizer_core import plugins
from linearizer_core.errors import TargetError
from linearizer_core.specs import CommandSpec

_PANEL = "Commands of plugins"
# Whatever follows the name belongs to the plugin, --help included.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


def add_plugin_commands(app: typer.Typer) -> None:
    """Register a command for each `CommandSpec`; nothing that it names is imported."""
    for name, spec in plugins.specs("command").items():
        app.command(name, help=spec.summary, rich_help_panel=_PANEL, context_settings=dict(_PASS_ON), add_help_option=False)(_runner(spec))


def _runner(spec: CommandSpec) -> Any:
    def run(context: typer.Context) -> None:
        target = spec.load_target()
        if not isinstance(target, typer.Typer):
            raise TargetError(f"command {spec.name!r}: target {spec.target!r} is a {type(target).__name__}, expected a typer.Typer; correct the plugin")
        target(args=context.args, prog_name=f"linearizer {spec.name}")

    return run
