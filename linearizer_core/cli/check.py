"""The conformance kit on a registered name: ``check``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from linearizer_core import plugins
from linearizer_core.cli.root import AsJson, app, kinds_named, print_json, print_table
from linearizer_core.config_file import parse_overrides
from linearizer_core.errors import ConfigError
from linearizer_core.plugins import ComponentKind

if TYPE_CHECKING:
    from linearizer_core.testing import CheckResult

Options = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the component, as in a configuration, such as dense.width=32.")]
CheckedKind = ComponentKind | Literal["tab"]
_CHECKED: tuple[CheckedKind, ...] = (*get_args(ComponentKind), "tab")

DTypes = Annotated[list[str] | None, typer.Option("--dtype", help="float64 or float32; both when left out.")]


@app.command("check")
def check_component(
    name: Annotated[str, typer.Argument(help="A name from `linearizer list`.")],
    options: Options = None,
    *,
    kind: Annotated[str, typer.Option(help="backbone, operator, task, dataset or tab, where several have this name.")] = "all",
    select: Annotated[str, typer.Option("-k", metavar="PATTERN", help="Part of the name of a check, or a wildcard pattern such as '*-inverse'.")] = "*",
    dtype: DTypes = None,
    show: Annotated[bool, typer.Option("--list", help="Show the checks and what each proves; run none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run the conformance kit: does a component keep the laws of its kind? Exit code 1 when a check fails, 2 when none can run."""
    asked = kinds_named(kind)
    found = [each for each in asked if name in plugins.specs(each)]
    if not found:
        raise plugins.unknown_name(name, asked[0] if len(asked) == 1 else None)
    kinds = [each for each in _CHECKED if each in found]
    if not kinds:
        raise ConfigError(f"{name!r} is a {found[0]}; the kit checks backbones, operators, tasks, datasets and tabs; measure a model with `linearizer eval`")
    if show:
        _print_laws(kinds, select, as_json=as_json)
        return
    import torch

    from linearizer_core.testing import run_checks, subject_named

    torch.set_num_threads(1)  # everything is small: more threads only wait for each other
    checked = [subject_named(each, name, parse_overrides(options or [])) for each in kinds]
    for each in kinds:
        plugins.find(each, name).load_target()  # what cannot be imported is one message, not a table of checks that could not run
    results = [(subject, result) for subject in checked for result in run_checks(subject, select=select, dtypes=dtype or ("float64", "float32"))]
    if as_json:
        print_json([{"subject": subject.name, "kind": subject.kind, **asdict(result)} for subject, result in results])
    else:
        header, rows = ["check", "status", "seconds", "message"], [_cells(result) for _, result in results]
        if len(checked) > 1:
            header, rows = ["kind", *header], [[subject.kind, *row] for (subject, _), row in zip(results, rows, strict=True)]
        print_table(header, rows)
        typer.echo(_summary([result for _, result in results]))
    if any(result.is_bad for _, result in results):
        raise typer.Exit(1)


def _print_laws(kinds: list[CheckedKind], select: str, *, as_json: bool) -> None:
    from linearizer_core.testing import checks_for

    found = [check for kind in kinds for check in checks_for("core" if kind == "operator" else kind, select)]
    if as_json:
        print_json([{"kind": check.kind, "check": check.name, "law": check.law} for check in found])
    else:
        print_table(["kind", "check", "law"], [[check.kind, check.name, check.law] for check in found])


def _cells(result: CheckResult) -> list[str]:
    return [result.check, result.status.replace("_", " "), f"{result.seconds:.2f}", result.message]


def _summary(results: list[CheckResult]) -> str:
    statuses = [result.status for result in results]
    counts = ", ".join(f"{statuses.count(status)} {status.replace('_', ' ')}" for status in sorted(set(statuses)))
    return f"\n{counts} in {sum(result.seconds for result in results):.1f} s"
