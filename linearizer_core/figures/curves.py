"""Curves with labelled axes, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from linearizer_core.figures.panels import INK, MUTED, finish


def save_curves(
    path: Path,
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    x: str,
    y: str,
    log_x: bool = False,
    log_y: bool = False,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Curves of pairs (x values, y values) by name, and dashed horizontal ``levels`` by name, into one PNG in one atomic step.

    Arguments:
        path: a file name that ends in .png.
        title: what the picture shows.
        curves: the legend is left out where there is one curve and no level.
        x: what the horizontal axis is, with its unit.
        y: what the vertical axis is, with its unit.
        log_x: a logarithmic horizontal axis.
        log_y: a logarithmic vertical axis; values that are not positive are left out.
        levels: values to compare with.
    """
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for name, (places, values) in curves.items():
        axis.plot(places, values, marker="." if len(places) < 40 else None, linewidth=1.4, label=name)
    for name, value in (levels or {}).items():
        axis.axhline(value, linestyle="--", linewidth=1, color=MUTED, label=name)
    if log_x:
        axis.set_xscale("log")
    if log_y:
        axis.set_yscale("log", nonpositive="mask")
    axis.set_xlabel(x, color=MUTED)
    axis.set_ylabel(y, color=MUTED)
    axis.grid(alpha=0.3)
    if len(curves) + len(levels or {}) > 1:
        axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    finish(figure, path, title)
