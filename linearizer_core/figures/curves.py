"""Curves and bars with labelled axes, as PNG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from linearizer_core.figures.panels import INK, LINE, MUTED, finish


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


def save_bars(path: Path, title: str, bars: Mapping[str, float], *, x: str) -> None:
    """Horizontal bars by name on a logarithmic axis, the first on top, into one PNG in one atomic step; a bar of 0 has no length, and says so."""
    figure = Figure(figsize=(6.4, 0.9 + 0.28 * len(bars)), layout="constrained")
    axis = figure.subplots()
    positive = [value for value in bars.values() if value > 0]
    left = min(positive, default=1.0) / 10
    axis.barh(list(bars), [max(value, left) - left for value in bars.values()], left=left, color=LINE)
    for row, value in enumerate(bars.values()):
        axis.annotate(f"{value:.1e}" if value else "0", (max(value, left), row), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED)
    axis.set_xscale("log")
    axis.set_xlim(left, max(positive, default=1.0) * 20)
    axis.invert_yaxis()
    axis.set_xlabel(x, color=MUTED)
    axis.grid(alpha=0.3, axis="x")
    finish(figure, path, title)
