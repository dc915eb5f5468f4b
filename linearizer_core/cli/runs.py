"""Runs and trained models: ``train``, ``sample``, ``eval``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.cli.root import app
from linearizer_core.errors import ConfigError

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
