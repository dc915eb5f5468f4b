"""``linearizer prepare``: a folder of pictures into arrays to train on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.validation import validate
from linearizer_datasets.config import PrepareConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run_prepare(
    folder: Annotated[Path, typer.Argument(help="Folder with the pictures, in subfolders or not.")],
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write; it must not exist yet.")],
    size: Annotated[int, typer.Option(help="Pictures become SIZE x SIZE pixels.")] = 64,
    crop: Annotated[int | None, typer.Option(help="Side of the square that is cut out around the centre first; as large as it can be when left out.")] = None,
    channels: Annotated[int, typer.Option(help="3 for colour, 1 for grey.")] = 3,
    split: Annotated[Path | None, typer.Option(help="File with a line NAME 0|1|2 for each picture: training, validation or test.")] = None,
    attributes: Annotated[Path | None, typer.Option(help="File with a line of names, then NAME 1|-1 ... for each picture: labels to choose from.")] = None,
    validation: Annotated[float | None, typer.Option(help="Fraction kept for validation, without --split; 0.1 when left out.")] = None,
    test: Annotated[float | None, typer.Option(help="Fraction kept for testing, without --split; 0.1 when left out.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the split, without --split; 0 when left out.")] = None,
    processes: Annotated[int, typer.Option(min=1, help="How many processes decode.")] = os.cpu_count() or 1,
) -> None:
    """Crop and scale pictures once, and write them as arrays that the data set `prepared` reads."""
    from linearizer_datasets.prepare import prepare

    given = {"crop": crop, "split": split, "attributes": attributes, "validation": validation, "test": test, "seed": seed}
    values = {"size": size, "channels": channels, **{name: value for name, value in given.items() if value is not None}}
    described = prepare(folder, output, validate(PrepareConfig, values, prefix="--"), processes)
    counts = ", ".join(f"{count:,} {name}" for name, count in described.counts.items())
    labels = f", {len(described.labels)} labels to choose from with data.label" if described.labels else ""
    typer.echo(f"{output}: {counts}{labels}; train with data.name=prepared data.root={output}")
