"""What is installed: ``plugins``, ``list``, ``describe``."""

from __future__ import annotations

import fnmatch
import json
import textwrap
from dataclasses import asdict
from typing import Annotated, Any

import typer

from linearizer_core import plugins
from linearizer_core.cli.root import AsJson, app, kinds_named, print_json, print_table
from linearizer_core.fields import field_rows
from linearizer_core.specs import KINDS, ComponentSpec, PretrainedSpec, Spec


@app.command("plugins")
def show_plugins(*, as_json: AsJson = False) -> None:
    """Show every installed plugin, whether it works, and how to mend it if not."""
    found = plugins.statuses()
    if as_json:
        print_json([{**asdict(status), "specs": [{"kind": spec.kind, "name": spec.name} for spec in status.specs]} for status in found])
        return
    if found:
        rows = [[status.name, f"{status.distribution} {status.version}", status.state, _provided(status.specs)] for status in found]
        print_table(["plugin", "distribution", "state", "provides"], rows)
    for status in found:
        if status.reason:
            typer.echo(f"\n{status.name} ({status.distribution}): {status.reason}\n  fix: {status.fix}")
    if not found:
        typer.echo("no plugin is installed; reinstall linearizer, whose own plugins should be listed here", err=True)


@app.command("list")
def show_list(
    kind: Annotated[str, typer.Argument(help="backbone, operator, task, dataset, study, command, pretrained, or all.")] = "all",
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a wildcard pattern such as 'flow.*'.")] = "*",
    *,
    as_json: AsJson = False,
) -> None:
    """List what the installed plugins provide."""
    by_kind = [(each, name, spec) for each in kinds_named(kind) for name, spec in plugins.specs(each).items()]
    owners = {(spec.kind, spec.name): status for status in plugins.statuses() for spec in status.specs}
    found = [(spec, owners[each, name]) for each, name, spec in by_kind if fnmatch.fnmatch(name, pattern) or pattern in name]
    if as_json:
        print_json([_overview(spec, status) for spec, status in found])
    elif found:
        rows = [[spec.kind, spec.name, spec.summary, status.name] for spec, status in found]
        print_table(["kind", "name", "summary", "plugin"], rows)
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
    kinds = kinds_named(kind)
    found = [(spec, plugins.provider(each, name)) for each in kinds if (spec := plugins.specs(each).get(name))]
    if not found:
        raise plugins.unknown_name(name, kinds[0] if len(kinds) == 1 else None)
    described = [_description(spec, status) for spec, status in found]
    if as_json:
        print_json(described)
        return
    for entry in described:
        fields, details = entry.pop("options", None), entry.pop("details", "")
        width = max(map(len, entry))
        typer.echo("\n".join(f"{key:<{width}}  {value}" for key, value in entry.items() if value))
        if details:
            typer.echo("\n" + "\n\n".join(textwrap.fill(paragraph, width=100) for paragraph in details.split("\n\n")))
        if fields is not None:
            typer.echo()
            print_table(["option", "type", "default", "description"], [_option_cells(row) for row in fields])


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
        return {**entry, "target": spec.target, "config": spec.config, "details": spec.details, "options": options}
    if isinstance(spec, PretrainedSpec):
        return {**entry, "location": spec.location, "folder": str(spec.folder())}
    return entry


def _option_cells(row: dict[str, Any]) -> list[str]:
    default = "required" if row["required"] else json.dumps(row["default"])
    return [row["key"], row["type"], default, row["description"]]


def _provided(specs: tuple[Spec, ...]) -> str:
    grouped = {kind: [spec.name for spec in specs if spec.kind == kind] for kind in KINDS}
    return "; ".join(f"{kind}: {', '.join(names)}" for kind, names in grouped.items() if names)
