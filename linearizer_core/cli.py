"""The command line. Importing it, its help and its listings import no torch."""

from __future__ import annotations

import fnmatch
import json
import os
import sys
from dataclasses import asdict
from typing import Annotated, Any, get_args

import typer

from linearizer_core import __version__, plugins
from linearizer_core.errors import LinearizerError, UnknownNameError
from linearizer_core.fields import field_rows
from linearizer_core.specs import KINDS, ComponentSpec, Kind, PretrainedSpec, Spec

app = typer.Typer(
    name="linearizer",
    help="Networks that are linear between induced vector spaces: f(x) = gy^-1(A gx(x)).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_PIPE_WIDTH = 200


def main() -> None:
    """Entry point of the console script: an error of ours is one message on stderr and exit code 2."""
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except LinearizerError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    except BrokenPipeError:
        # The reader (head, less) left. What is still buffered goes nowhere, so that the interpreter's last flush is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@app.callback()
def _root(*, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("plugins")
def show_plugins(*, as_json: AsJson = False) -> None:
    """Show every installed plugin, whether it works, and how to mend it if not."""
    found = plugins.statuses()
    if as_json:
        _print_json([{**asdict(status), "specs": [{"kind": spec.kind, "name": spec.name} for spec in status.specs]} for status in found])
        return
    rows = [[status.name, f"{status.distribution} {status.version}", status.state, _provided(status.specs)] for status in found]
    _print_table(["plugin", "distribution", "state", "provides"], rows)
    for status in found:
        if status.reason:
            typer.echo(f"\n{status.name} ({status.distribution}): {status.reason}\n  fix: {status.fix}")
    if not found:
        typer.echo("no plugin is installed; reinstall linearizer, whose own plugins should be listed here", err=True)


@app.command("list")
def show_list(
    kind: Annotated[str, typer.Argument(help="backbone, operator, task, dataset, pretrained, or all.")] = "all",
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a wildcard pattern such as 'flow.*'.")] = "*",
    *,
    as_json: AsJson = False,
) -> None:
    """List what the installed plugins provide."""
    found = [
        (spec, plugins.provider(each, name))
        for each in _kinds(kind)
        for name, spec in plugins.specs(each).items()
        if fnmatch.fnmatch(name, pattern) or pattern in name
    ]
    if as_json:
        _print_json([_overview(spec, status) for spec, status in found])
    elif found:
        rows = [[spec.kind, spec.name, spec.summary, status.name] for spec, status in found]
        _print_table(["kind", "name", "summary", "plugin"], rows)
    else:
        typer.echo(f"nothing of kind {kind} matches {pattern!r}", err=True)
    if unusable := [status.name for status in plugins.statuses() if status.state in ("failed", "incompatible", "conflict")]:
        typer.echo(f"not everything is usable ({', '.join(unusable)}): see `linearizer plugins`", err=True)


@app.command("describe")
def show_description(
    name: Annotated[str, typer.Argument(help="A name from `linearizer list`.")],
    *,
    kind: Annotated[str, typer.Option(help="Which kind, where several have this name.")] = "all",
    as_json: AsJson = False,
) -> None:
    """Describe a name: where it comes from, and its options with types and defaults."""
    kinds = _kinds(kind)
    found = [(spec, plugins.provider(each, name)) for each in kinds if (spec := plugins.specs(each).get(name))]
    if not found:
        raise plugins.unknown_name(name, kinds[0] if len(kinds) == 1 else None)
    described = [_description(spec, status) for spec, status in found]
    if as_json:
        _print_json(described)
        return
    for entry in described:
        fields = entry.pop("options", None)
        width = max(map(len, entry))
        typer.echo("\n".join(f"{key:<{width}}  {value}" for key, value in entry.items() if value))
        if fields is not None:
            typer.echo()
            _print_table(["option", "type", "default", "description"], [_option_cells(row) for row in fields])


def _kinds(given: str) -> tuple[Kind, ...]:
    if given == "all":
        return KINDS
    chosen: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if given in (kind, f"{kind}s"))
    if not chosen:
        raise UnknownNameError(
            f"there is no kind {given!r}; kinds are {', '.join(KINDS)}, or all (`linearizer list all PATTERN` searches every kind)"
        )
    return chosen


def _overview(spec: Spec, status: plugins.PluginStatus) -> dict[str, Any]:
    return {
        "kind": spec.kind,
        "name": spec.name,
        "summary": spec.summary,
        "reference": spec.reference,
        "plugin": status.name,
        "distribution": status.distribution,
        "version": status.version,
    }


def _description(spec: Spec, status: plugins.PluginStatus) -> dict[str, Any]:
    entry = _overview(spec, status)
    if isinstance(spec, ComponentSpec):
        options = [asdict(row) for row in field_rows(spec.load_config())]
        return {**entry, "target": spec.target, "config": spec.config, "options": options}
    if isinstance(spec, PretrainedSpec):
        return {**entry, "location": spec.location, "folder": str(spec.folder())}
    return entry


def _option_cells(row: dict[str, Any]) -> list[str]:
    default = "required" if row["required"] else json.dumps(row["default"])
    return [row["key"], row["type"], default, row["description"]]


def _provided(specs: tuple[Spec, ...]) -> str:
    grouped = {kind: [spec.name for spec in specs if spec.kind == kind] for kind in KINDS}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in grouped.items() if names)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_table(header: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    console.print(table)


if __name__ == "__main__":
    main()
