"""``linearizer ign``: pictures projected by a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.errors import ConfigError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Project pictures with a trained idempotent network.")


@app.callback()
def _root() -> None:
    """A group, although it has one command: others may follow."""


@app.command("project")
def run_project(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures: PNG, JPEG and whatever else Pillow reads; scaled to the size of the model.")],
    *,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A run folder, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name from `linearizer list pretrained`.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG file: the pictures above their projections.")] = Path("projected.png"),
) -> None:
    """Project pictures, twice: the second time changes nothing, and the largest change is printed."""
    if output.suffix.lower() != ".png":
        raise ConfigError(f"--output {output}: expected a file name that ends in .png")
    import torch

    from linearizer_core.figures.files import read_example
    from linearizer_core.figures.panels import save_strips
    from linearizer_core.metrics import max_abs_error
    from linearizer_core.pretrained import load, uri_of
    from linearizer_ign.model import IdempotentModel

    loaded = load(uri_of(model))
    if not isinstance(loaded.model, IdempotentModel):
        raise ConfigError(f"{model} is a model of the task {loaded.config.model.task.name!r}, expected one of the task 'ign'; train configs/ign_digits.toml")
    x = torch.stack([read_example(picture, loaded.config.data.shape) for picture in pictures])
    f = loaded.linearizer()
    with torch.no_grad():
        once = f(x)
        change = max_abs_error(f(once), once)
    try:
        save_strips(output, f"f(f(x)) differs from f(x) by at most {change:.1e}", [[("given", x), ("projected", once)]])
    except OSError as error:
        raise ConfigError(f"--output {output} cannot be written: {error.strerror}; choose another path") from error
    typer.echo(f"{len(x)} pictures projected; projecting them again changes no pixel by more than {change:.1e}: {output}")
