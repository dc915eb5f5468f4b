"""Pictures of the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from benchmarks.evidence.tables import Record, distance
from benchmarks.evidence.trend import Trend

_COLOURS = ("#3b5bdb", "#0b7285", "#e8590c", "#862e9c", "#495057")


def plot_evaluations(groups: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Frechet distance against evaluations of the network a sample, both logarithmic; every seed is a point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    for (_, records), colour in zip(groups.items(), _COLOURS, strict=False):
        ways = [values for values in records[0]["ways"] if "temperature" not in values]
        numbers = [records[0]["ways"][way]["evaluations"] for way in ways]
        points = [[record["ways"][way].get("frechet_classifier") for record in records] for way in ways]
        shown = [(number, [value for value in values if value is not None]) for number, values in zip(numbers, points, strict=True)]
        axis.plot([number for number, _ in shown], [mean(values) for _, values in shown], color=colour, marker="o", label=records[0]["title"])
        for number, values in shown:
            axis.plot([number] * len(values), values, color=colour, marker="_", linestyle="none")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("evaluations of the network for one sample")
    axis.set_ylabel("Frechet distance to test digits")
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.3, which="both")
    figure.savefig(path, format="png", dpi=130, facecolor="white", metadata={"Software": None})


def plot_scaling(records: Sequence[Record], trend: Trend, path: Path) -> None:
    """Frechet distance against seconds of training, a line for each size; dashed, the trend through all of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    for size, colour in zip(sorted({record["parameters"] for record in records}), _COLOURS, strict=False):
        points = sorted((record["budget"], distance(record)) for record in records if record["parameters"] == size)
        seconds = [budget for budget, _ in points]
        axis.plot(seconds, [value for _, value in points], color=colour, marker="o", label=f"{size / 1e6:.1f} million parameters")
        axis.plot(seconds, [trend(size, budget) for budget in seconds], color=colour, linestyle="--", linewidth=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("seconds of training on one core")
    axis.set_ylabel("Frechet distance to validation digits")
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.3, which="both")
    figure.savefig(path, format="png", dpi=130, facecolor="white", metadata={"Software": None})
