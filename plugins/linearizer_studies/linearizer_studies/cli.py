"""``linearizer doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from linearizer_core.cli.root import AsJson, print_json, print_table
from linearizer_core.errors import ConfigError
from linearizer_studies.words import number

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def doctor(
    model: Annotated[str, typer.Argument(help="A run folder, a configuration to train, local-dir:PATH of a saved model, or a name of a pretrained one.")],
    data: Annotated[list[str] | None, typer.Argument(metavar="[data.KEY=VALUE]...", help="Where the data are, such as data.root=DIR.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a trained model for signatures of failure. Exit code 1 when one of them fails."""
    given = data or []
    if strange := [option for option in given if not option.startswith("data.")]:
        raise ConfigError(f"{strange[0]!r}: doctor has no options; only data.KEY=VALUE can follow the model, such as data.root=DIR")
    from linearizer_core.study import open_subject
    from linearizer_studies.doctor import examine

    signatures = examine(open_subject(model, given))
    if as_json:
        print_json([{"name": each.name, "verdict": each.verdict, **_values(each)} for each in signatures])
    else:
        rows = []
        for each in signatures:
            limits = f"{'below' if each.smallest else 'from'} {number(each.warn)} / {number(each.fail)}"
            rows.append([each.verdict, each.name, "-" if each.number is None else number(each.number), limits, each.measured])
        print_table(["verdict", "signature", "number", "warn / fail", "measured"], rows)
        for each in signatures:
            if each.verdict != "ok":
                typer.echo(f"\n{each.name}: {each.advice}")
    if any(each.verdict == "fail" for each in signatures):
        raise typer.Exit(1)


def _values(signature: object) -> dict[str, object]:
    return {name: str(value) if isinstance(value, float) and value - value != 0 else value for name, value in vars(signature).items() if name != "name"}
