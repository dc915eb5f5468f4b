"""The command group ``linearizer dynamics``: predictions, spectra and films of trained models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linearizer_core.cli.root import AsJson, print_json, print_table
from linearizer_core.errors import ConfigError
from linearizer_dynamics.texts import parse_state, parse_times

if TYPE_CHECKING:
    from linearizer_core.pretrained import Pretrained

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Model = Annotated[str, typer.Argument(help="A run folder, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name from `linearizer list pretrained`.")]
Times = Annotated[str, typer.Option(help="START:STOP:STEP, both ends included, or numbers with commas between. Negative times run backward: --times=-1:1:0.1.")]


@app.callback()
def _root() -> None:
    """Continuous time by one exponential: x(t) = g^-1(exp(tA) g(x(0))) for any real t."""


@app.command("predict")
def predict_states(
    model: Model,
    *,
    x0: Annotated[str, typer.Option("--x0", help="The state to start from: numbers with commas between.")],
    times: Times,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .csv file, or a .png for a plot; the terminal when left out.")] = None,
) -> None:
    """Predict the states at any times from one state."""
    if output is not None and output.suffix.lower() not in (".csv", ".png"):
        raise ConfigError(f"--output {output}: expected a file name that ends in .csv or .png")
    moments = parse_times(times)
    import torch

    from linearizer_dynamics.prediction import predict

    pretrained = _load(model)
    shape = pretrained.config.data.shape
    if len(shape) != 1:
        raise ConfigError(f"{model} is a model of frames of shape {shape}; use `linearizer dynamics video`")
    start = parse_state(x0, shape[0])
    with torch.no_grad():
        states = predict(pretrained.model, torch.tensor([start]), torch.tensor(moments, dtype=torch.float64))[0]
    header = ["t", *(f"x{number}" for number in range(1, shape[0] + 1))]
    rows = [[f"{time:.6g}", *(f"{value:.6g}" for value in state)] for time, state in zip(moments, states.tolist(), strict=True)]
    if output is None:
        print_table(header, rows)
    elif output.suffix.lower() == ".csv":
        _saved(output, lambda: output.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n", encoding="utf-8"))
    else:
        from linearizer_core.figures.curves import save_curves

        curves = {name: (moments, states[:, number].tolist()) for number, name in enumerate(header[1:])}
        _saved(output, lambda: save_curves(output, f"From x(0) = ({', '.join(f'{value:g}' for value in start)})", curves, x="t", y="state"))


@app.command("spectrum")
def show_spectrum(
    model: Model,
    *,
    at: Annotated[str | None, typer.Option(help="A state: the generator of the orbit through it, where frequencies depend on invariants.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .png for a plot of the eigenvalues.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the eigenvalues of the generator: how fast what decays, and how fast what turns."""
    if output is not None and output.suffix.lower() != ".png":
        raise ConfigError(f"--output {output}: expected a file name that ends in .png")
    import math

    import torch

    from linearizer_dynamics.prediction import encode, generator_of
    from linearizer_dynamics.spectrum import eigenvalues

    pretrained = _load(model)
    core = generator_of(pretrained.model)
    operator = core.operator()
    if at is not None:
        shape = pretrained.config.data.shape
        if len(shape) != 1:
            raise ConfigError(f"--at {at}: {model} is a model of frames of shape {shape}; leave it out")
        with torch.no_grad():
            operator = core.generator_at(encode(pretrained.model, torch.tensor([[parse_state(at, shape[0])]]))[0, 0])
    found = eigenvalues(operator)
    if output is not None:
        from linearizer_dynamics.figures import save_spectrum

        _saved(output, lambda: save_spectrum(output, found, None))
    if as_json:
        print_json([{"growth": value.real, "frequency": value.imag} for value in found])
        return
    half = [f"{math.log(2) / -value.real:.4g}" if value.real < -1e-9 else "" for value in found]
    period = [f"{2 * math.pi / abs(value.imag):.4g}" if value.imag else "" for value in found]
    rows = [[f"{value.real:.6g}", f"{value.imag:.6g}", *texts] for value, *texts in zip(found, half, period, strict=True) if value.imag >= 0]
    print_table(["growth rate", "angular frequency", "half-life", "period"], rows)


@app.command("video")
def make_video(
    model: Model,
    image: Annotated[str, typer.Argument(help="The first frame: the number of a test example of the run, or an image file.")],
    *,
    times: Times = "0:2:0.05",
    output: Annotated[Path, typer.Option("-o", "--output", help="A .gif, or a .png with all frames side by side.")] = Path("film.gif"),
    scale: Annotated[int, typer.Option(min=1, max=64, help="Pixels of the file for each pixel of a frame.")] = 6,
    pause: Annotated[int, typer.Option(min=10, max=5000, help="Milliseconds of a frame in a .gif.")] = 60,
) -> None:
    """Make a film at any times from its first frame."""
    if output.suffix.lower() not in (".gif", ".png"):
        raise ConfigError(f"--output {output}: expected a file name that ends in .gif or .png")
    moments = parse_times(times)
    import torch

    from linearizer_dynamics.film import first_frame, save_gif, save_strip
    from linearizer_dynamics.prediction import predict

    pretrained, start = first_frame(model, image)
    with torch.no_grad():
        frames = predict(pretrained.model, start[None], torch.tensor(moments, dtype=torch.float64))[0].clamp(0, 1)
    if output.suffix.lower() == ".gif":
        _saved(output, lambda: save_gif(output, frames, scale=scale, pause=pause))
    else:
        _saved(output, lambda: save_strip(output, frames, moments))


def _load(model: str) -> Pretrained:
    from linearizer_core.pretrained import load, uri_of
    from linearizer_dynamics.prediction import generator_of

    pretrained = load(uri_of(model))
    generator_of(pretrained.model)
    return pretrained


def _saved(path: Path, save: Callable[[], object]) -> None:
    try:
        save()
    except OSError as error:
        raise ConfigError(f"--output {path} cannot be written: {error.strerror}; choose another path") from error
    typer.echo(str(path))
