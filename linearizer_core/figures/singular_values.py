"""Plots that belong to a saved model, as PNG files in memory."""

from __future__ import annotations

from io import BytesIO

from linearizer_core.collapse import CollapseReport

_INK, _MUTED, _LINE = "#1f2430", "#6b7280", "#3b5bdb"


def plot_singular_values(report: CollapseReport) -> bytes:
    """The singular values of a collapsed operator on a logarithmic scale; those that are zero lie on the lower edge.

    Raises:
        ModuleNotFoundError: without matplotlib, which the extra ``train`` brings.
    """
    from matplotlib.figure import Figure

    values = report.singular_values
    floor = max(values[0], 1e-300) * 1e-8
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.semilogy(range(1, len(values) + 1), [max(value, floor) for value in values], color=_LINE, marker=".", markersize=4, linewidth=1)
    if report.complement and report.c is not None and report.c > floor:
        axis.axhline(report.c, color=_MUTED, linestyle="--", linewidth=1)
        text = f"c = {report.c:.2g}, {report.complement:,} times"
        axis.annotate(text, (len(values), report.c), (0, -4), textcoords="offset points", color=_MUTED, fontsize=8, ha="right", va="top")
    axis.set_ylim(bottom=floor)
    axis.set_xlabel("number" if len(values) == report.dim else f"number, of {report.dim:,}", color=_MUTED)
    axis.set_ylabel("singular value", color=_MUTED)
    axis.set_title(f"Singular values of B: {report.solver}, {report.terminal}, {report.steps:,} steps", fontsize=11, color=_INK)
    axis.grid(alpha=0.3)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    return picture.getvalue()
