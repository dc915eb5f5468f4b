"""``linearizer style``: a trained model applied to pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from linearizer_core.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from linearizer_style.opened import Choice, OpenedStyles

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Stylise pictures with a trained model.")

Picture = Annotated[Path, typer.Argument(help="A picture of any size: PNG, JPEG and whatever else Pillow reads.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="A run folder, local-dir:PATH of a saved model, hf-hub:ORG/NAME, or a name from `linearizer list pretrained`.")
]
Output = Annotated[Path, typer.Option("-o", "--output", help="The picture to write; its ending says in which format.")]
Size = Annotated[int | None, typer.Option("--size", min=8, help="Scale the picture first, so that its shorter side has so many pixels.")]


@app.command("apply")
def run_apply(
    picture: Picture,
    *,
    model: Model,
    mix: Annotated[str | None, typer.Option(help="Styles and weights, such as candy=0.3,mosaic=0.7; a style alone has weight 1.")] = None,
    compose: Annotated[str | None, typer.Option(help="Styles one after another, the first one first, such as candy,udnie.")] = None,
    strength: Annotated[float, typer.Option(help="0: the picture, 1: the style, beyond 1: more of it.")] = 1.0,
    size: Size = None,
    output: Output = Path("stylised.png"),
) -> None:
    """Stylise a picture: with a mix of styles, or with several one after another."""
    if (mix is None) == (compose is None):
        raise ConfigError("give one of --mix and --compose, such as --mix candy=0.3,mosaic=0.7; `linearizer style styles --model MODEL` lists the styles")
    if mix is not None:
        weights = _weights(mix)
        _write(picture, model, size, output, lambda mixer: mixer.mix(weights, strength))
    else:
        styles = [name.strip() for name in (compose or "").split(",")]
        _write(picture, model, size, output, lambda mixer: mixer.compose(styles, strength))


@app.command("destyle")
def run_destyle(
    picture: Picture,
    *,
    model: Model,
    style: Annotated[str, typer.Option(help="The style, or mix of styles, to undo.")],
    strength: Annotated[float, typer.Option(help="The strength it was applied with.")] = 1.0,
    size: Size = None,
    output: Output = Path("destyled.png"),
) -> None:
    """Undo a style by the exact inverse of its operator. Pictures in files are rounded to 8 bits, which limits what comes back."""
    weights = _weights(style)
    _write(picture, model, size, output, lambda mixer: mixer.mix(weights, strength).inverse())


@app.command("sheet")
def run_sheet(
    picture: Picture,
    *,
    model: Model,
    size: Size = 256,
    output: Output = Path("sheet"),
) -> None:
    """Draw a picture in every style, in mixes of every pair, and at strengths from 0 to 1.25: styles.png, mixes.png and strengths.png in a folder."""
    from linearizer_style.figures import draw_mixes, draw_strengths, draw_styles

    opened, content = _opened(model, picture, size)
    mixer, content = opened.fitted(content)
    output.mkdir(parents=True, exist_ok=True)
    draw_styles(mixer, content, output / "styles.png")
    draw_strengths(mixer, content, output / "strengths.png")
    if len(mixer.names) > 1:
        draw_mixes(mixer, content, output / "mixes.png")
    typer.echo(f"drawn: {output}")


@app.command("styles")
def run_styles(*, model: Model) -> None:
    """List the styles of a model, with the condition numbers of their operators: how safely each is undone."""
    from linearizer_style.opened import open_styles

    opened = open_styles(model)
    for name in opened.names:
        typer.echo(f"{name}: condition number {opened.mixer.operator(name).cond():.3g}")


def _write(picture: Path, model: str, size: int | None, output: Path, choose: Choice) -> None:
    from linearizer_core.figures.files import write_picture

    opened, content = _opened(model, picture, size)
    write_picture(opened.apply(content, choose), output)
    typer.echo(f"written: {output}")


def _opened(model: str, picture: Path, size: int | None) -> tuple[OpenedStyles, Tensor]:
    from linearizer_core.figures.files import read_picture
    from linearizer_style.opened import open_styles

    return open_styles(model), read_picture(picture, size)


def _weights(text: str) -> dict[str, float]:
    """Weights by style: ``a=0.3,b=0.7``.

    Example:
        >>> _weights("candy=0.3, udnie")
        {'candy': 0.3, 'udnie': 1.0}
    """
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = float("nan")
        if not name or weight != weight or name in weights:
            raise ConfigError(f"{part.strip()!r} in {text!r}: expected each style once, with a number, such as candy=0.3,mosaic=0.7")
        weights[name] = weight
    return weights
