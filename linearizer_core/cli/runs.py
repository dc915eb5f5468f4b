"""Runs and trained models: ``train``, ``collapse``, ``sample``, ``eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.cli.root import AsJson, app, print_json
from linearizer_core.errors import ConfigError

Model = Annotated[str, typer.Argument(help="A run folder, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name from `linearizer list pretrained`.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Values that replace those of the file, such as data.root=DIR.")]


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


@app.command("collapse")
def run_collapse(
    model: Model,
    *,
    steps: Annotated[int | None, typer.Option(help="T: equal steps from noise to data, in place of an error that was asked for.")] = None,
    solver: Annotated[str | None, typer.Option(help="A solver of the core.")] = None,
    terminal: Annotated[str | None, typer.Option(help="How the flow ends: early, last_step or limit.")] = None,
    tol: Annotated[float | None, typer.Option(help="Largest error against the exact flow: steps are chosen for it, in place of T equal ones.")] = None,
    rtol: Annotated[float | None, typer.Option(help="Drop singular values of low-rank products up to this part of the largest.")] = None,
    rank: Annotated[int | None, typer.Option(help="Keep so many of the largest singular values of the operator.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin with the defaults: what is not named otherwise stays as the model has it.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder of the new model; in place of the old one when left out.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the steps of a trained flow into one operator anew, save it with the model, and report what it is and how exact."""
    from linearizer_core.collapse import changed_config
    from linearizer_core.pretrained import load, local_folder, uri_of
    from linearizer_core.report import print_report

    folder = output or local_folder(model)
    if folder is None:
        raise ConfigError(f"{model} is no folder of yours to write to; add -o FOLDER for the new model")
    before = load(uri_of(model))
    given = {"steps": steps, "solver": solver, "terminal": terminal, "tol": tol, "rtol": rtol, "rank": rank}
    named = {name: value for name, value in given.items() if value is not None}
    after = before.collapsed(changed_config(None if fresh else before.task.collapse(), named))
    after.save_pretrained(folder)
    report = after.collapse
    assert report is not None
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    print_report(report.model_dump(), {name: field.description or "" for name, field in type(report).model_fields.items()})
    typer.echo(f"\n{report.consequence}")
    if before.metrics and not after.metrics:
        typer.echo("Metrics of the former operator are left out; `linearizer eval RUN` measures a run anew.")
    typer.echo(f"saved: {folder}")


@app.command("sample")
def run_sampling(
    model: Model,
    *,
    n: Annotated[int, typer.Option("--n", min=1, max=10_000, help="Number of samples.")] = 64,
    steps: Annotated[int | None, typer.Option(help="1: the collapsed operator; more: the loop with that many steps.")] = None,
    solver: Annotated[str | None, typer.Option(help="Solver of the loop, or of a fresh collapse.")] = None,
    terminal: Annotated[str | None, typer.Option(help="How the loop or a fresh collapse ends: early, last_step or limit.")] = None,
    rank: Annotated[int | None, typer.Option(help="How many of the largest singular values of the operator are kept.")] = None,
    label: Annotated[int | None, typer.Option(help="Class of all samples; drawn, or any, when left out.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Weight of the label where the core takes it: 1 as trained, beyond 1 more than that.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Scale of the noise: below 1 safer, above 1 more varied.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the noise.")] = 0,
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file for a grid of the samples.")] = Path("samples.png"),
) -> None:
    """Draw samples from a trained model into one picture."""
    if output.suffix.lower() != ".png":
        raise ConfigError(f"--output {output}: expected a file name that ends in .png")
    given = {
        "steps": steps,
        "solver": solver,
        "terminal": terminal,
        "rank": rank,
        "label": label,
        "guidance": guidance,
        "temperature": temperature,
    }
    from linearizer_core.figures.images import save_grid
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
