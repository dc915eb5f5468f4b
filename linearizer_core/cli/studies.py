"""Studies of trained models: ``study``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core import plugins
from linearizer_core.cli.root import AsJson, app, print_json
from linearizer_core.config_file import parse_overrides
from linearizer_core.errors import ConfigError


@app.command("study")
def run_study(
    name: Annotated[str, typer.Argument(help="A name from `linearizer list studies`.")],
    model: Annotated[
        str, typer.Argument(help="A run folder, a configuration to train, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name of a pretrained one.")
    ],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Options of the study, and data.KEY=VALUE for the data, such as data.root=DIR.")
    ] = None,
    *,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the report; studies/NAME in the run folder, or here, when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Put a question to a trained model: figures, study.json and report.md."""
    spec = plugins.find("study", name)
    given = options or []
    data = [option for option in given if option.startswith("data.")]
    own = parse_overrides([option for option in given if option not in data])
    from linearizer_core.validation import validate

    validate(spec.load_config(), own, where=f"study {name!r}")  # a mistake in an option is said before anything is trained or read
    from linearizer_core.factory import create_study
    from linearizer_core.report import print_report
    from linearizer_core.study import open_subject, write_study

    subject = open_subject(model, data)
    folder = output or (subject.run.training.output if subject.run else Path()) / "studies" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--output {folder} cannot be made: {error.strerror}; choose another folder") from error
    report = create_study(name, **own).run(subject, folder)
    written = write_study(name, subject, report, folder)
    if as_json:
        print_json(report.metrics)
        return
    print_report(report.metrics, report.notes)
    typer.echo("\n" + "\n".join(report.findings) + f"\nreport: {written}")
