"""The curves of a training log, as a PNG file in memory."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from linearizer_core.figures.panels import INK, MUTED

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Those of Okabe and Ito, which people with any colour vision can tell apart; yellow is left out, which is pale on white."""
_DASHES = ("-", "--", ":", "-.")
_NO_TERMS = frozenset({"step", "stage", "stage_step", "lr", "grad_norm", "loss"})
_COLUMNS = 3


def plot_training(log: Iterable[Mapping[str, float | str | None]]) -> bytes:
    """The loss of each stage and its terms, against the step of the stage; one panel for a stage.

    The vertical axis is logarithmic where the values of a panel are positive and span more than a factor of ten. Learning rate,
    norm of the gradient, and what the monitor measured are left out.

    Arguments:
        log: lines in the order of their steps, at least one, as `linearizer_core.training.read_metrics` reads them.

    Example:
        >>> picture = plot_training([{"step": 1, "stage": "flow", "stage_step": 1, "lr": 0.1, "loss": 2.0, "grad_norm": 1.0}])
        >>> picture[:4]
        b'\\x89PNG'
    """
    stages = [(stage, list(lines)) for stage, lines in itertools.groupby(log, key=lambda line: str(line["stage"]))]
    columns = min(len(stages), _COLUMNS)
    rows = math.ceil(len(stages) / columns)
    figure = Figure(figsize=(5.6 if columns == 1 else 3.6 * columns, 3.6 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, (stage, lines) in zip(axes, stages, strict=False):
        _panel(axis, stage, lines)
    for axis in axes[len(stages) :]:
        axis.set_axis_off()
    return _small_png(figure)


def _panel(axis: Axes, stage: str, lines: Sequence[Mapping[str, float | str | None]]) -> None:
    terms = dict.fromkeys(name for line in lines for name in line if name not in _NO_TERMS and not name.startswith("monitor_"))
    curves = {name: curve for name in ("loss", *terms) if (curve := _curve(lines, name))}
    styles = itertools.cycle(itertools.product(_DASHES, _COLOURS))
    for name, curve in curves.items():
        dashes, colour = ("-", INK) if name == "loss" else next(styles)
        width, marker = 2.4 if name == "loss" else 1.0, "." if len(curve) == 1 else None
        axis.plot(*zip(*curve, strict=True), dashes, color=colour, linewidth=width, marker=marker, label=_plain(name))
    values = [value for curve in curves.values() for _, value in curve]
    if 0 < 10 * min(values, default=0) < max(values):
        axis.set_yscale("log")
    axis.set_title(_plain(stage), fontsize=11, color=INK)
    axis.set_xlabel("step", color=MUTED)
    axis.set_ylabel("loss and its terms" if terms else "loss", color=MUTED)
    axis.grid(alpha=0.3)
    if terms:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, frameon=False, fontsize=8, labelcolor=INK)


def _curve(lines: Sequence[Mapping[str, float | str | None]], name: str) -> list[tuple[float, float]]:
    pairs = ((line["stage_step"], line.get(name)) for line in lines)
    return [(step, value) for step, value in pairs if isinstance(step, int | float) and isinstance(value, int | float)]


def _small_png(figure: Figure) -> bytes:
    """With a palette of 256 colours, which is a third of the size: the picture lies beside every model."""
    drawn, small = BytesIO(), BytesIO()
    figure.savefig(drawn, format="png", dpi=100, facecolor="white")
    drawn.seek(0)
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return small.getvalue()


def _plain(text: str) -> str:
    """As it is, whatever matplotlib takes for mathematics, or for a name that no legend shows."""
    return text.replace("$", r"\$").lstrip("_")
