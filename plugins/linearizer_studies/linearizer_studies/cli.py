"""``linearizer doctor``."""

from __future__ import annotations

from typing import Annotated

import typer

from linearizer_core.cli.root import AsJson, print_json, print_table
from linearizer_core.config_file import parse_overrides
from linearizer_core.validation import validate
from linearizer_studies.config import StudyConfig
from linearizer_studies.words import number

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def doctor(
    model: Annotated[
        str, typer.Argument(help="A run folder, a configuration to train, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name of a pretrained one.")
    ],
    options: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="data.KEY=VALUE: where the data are, such as data.root=DIR; condition.NAME=NUMBER: which operator, of a core that has several.",
        ),
    ] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check a trained model for signatures of failure. Exit code 1 when one of them fails."""
    given = options or []
    data = [option for option in given if option.startswith("data.")]
    config = validate(StudyConfig, parse_overrides([option for option in given if option not in data]), where="doctor")
    from linearizer_core.study import open_subject
    from linearizer_studies.doctor import examine

    signatures = examine(open_subject(model, data), config.condition)
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
