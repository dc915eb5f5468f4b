"""The command line. Importing it, its help and its listings import no torch."""

from __future__ import annotations

import fnmatch
import json
import sys
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from linearizer_core import __version__, plugins
from linearizer_core.errors import ConfigError, LinearizerError, UnknownNameError
from linearizer_core.extras import missing_extra
from linearizer_core.fields import field_rows
from linearizer_core.specs import KINDS, ComponentSpec, Kind, PretrainedSpec, Spec

app = typer.Typer(
    name="linearizer",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values that replace those of the file, such as data.root=DIR.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_PIPE_WIDTH = 200


def main() -> None:
    """Entry point of the console script: an error of ours is one message on stderr and exit code 2."""
    try:
        app()  # an early end of the reader (`| head`) is handled by typer and rich: no traceback, exit code 1
    except (LinearizerError, ModuleNotFoundError) as error:
        message = missing_extra(error) if isinstance(error, ModuleNotFoundError) else str(error)
        if message is None:
            raise
        typer.echo(f"error: {message}", err=True)
        raise SystemExit(2) from None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(*, version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Networks that are linear between induced vector spaces: f(x) = gy^-1(A gx(x))."""


@app.command("plugins")
def show_plugins(*, as_json: AsJson = False) -> None:
    """Show every installed plugin, whether it works, and how to mend it if not."""
    found = plugins.statuses()
    if as_json:
        _print_json([{**asdict(status), "specs": [{"kind": spec.kind, "name": spec.name} for spec in status.specs]} for status in found])
        return
    if found:
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
    by_kind = [(each, name, spec) for each in _kinds(kind) for name, spec in plugins.specs(each).items()]
    owners = {(spec.kind, spec.name): status for status in plugins.statuses() for spec in status.specs}
    found = [(spec, owners[each, name]) for each, name, spec in by_kind if fnmatch.fnmatch(name, pattern) or pattern in name]
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
        fields, details = entry.pop("options", None), entry.pop("details", "")
        width = max(map(len, entry))
        typer.echo("\n".join(f"{key:<{width}}  {value}" for key, value in entry.items() if value))
        if details:
            typer.echo("\n" + textwrap.fill(details, width=100))
        if fields is not None:
            typer.echo()
            _print_table(["option", "type", "default", "description"], [_option_cells(row) for row in fields])


@app.command("train")
def run_training(
    config: Annotated[Path, typer.Argument(help="A TOML file, such as those in configs/.")],
    overrides: Overrides = None,
) -> None:
    """Train what a configuration describes, in one process; run it again to continue after a stop."""
    from linearizer_core.config_file import load_config

    loaded = load_config(config, overrides or [])
    from linearizer_core.training import train

    summary = train(loaded)
    typer.echo(f"finished: {summary.output}")


@app.command("sample")
def run_sampling(
    model: Annotated[str, typer.Argument(help="A run folder, local-dir:PATH of a saved model, or a name from `linearizer list pretrained`.")],
    *,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of samples.")] = 64,
    steps: Annotated[int | None, typer.Option(help="1: the collapsed operator; more: the loop with that many steps.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver of the loop, or of a fresh collapse.")] = None,
    label: Annotated[int | None, typer.Option(help="Class of all samples; drawn when left out.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Scale of the noise: below 1 safer, above 1 more varied.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file for a grid of the samples.")] = Path("samples.png"),
) -> None:
    """Draw samples from a trained model into one picture."""
    if output.suffix.lower() != ".png":
        raise ConfigError(f"--output {output}: expected a file name that ends in .png")
    given = {"steps": steps, "solver": solver, "label": label, "temperature": temperature}
    from linearizer_core.pictures import save_grid
    from linearizer_core.pretrained import load, uri_of

    images = load(uri_of(model)).sample(n, seed=seed, **{name: value for name, value in given.items() if value is not None})
    try:
        save_grid(images, output)
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error.strerror}; choose another path") from error
    typer.echo(f"{n} samples: {output}")


@app.command("eval")
def run_evaluation(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    overrides: Overrides = None,
) -> None:
    """Measure a trained model again, on the data it was trained for: report.json and figures in the run folder."""
    from linearizer_core.training.finish import evaluate_run

    evaluate_run(run, overrides or [])
    typer.echo(f"report: {run / 'report.json'}")


def _kinds(given: str) -> tuple[Kind, ...]:
    if given == "all":
        return KINDS
    chosen: tuple[Kind, ...] = tuple(kind for kind in get_args(Kind) if given in (kind, f"{kind}s"))
    if not chosen:
        raise UnknownNameError(f"there is no kind {given!r}; kinds are {', '.join(KINDS)}, and all, as in `linearizer list all PATTERN`")
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
