"""Pictures of the evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.evidence.tables import Record, distance
from benchmarks.evidence.trend import Trend

_COLOURS = ("#3b5bdb", "#0b7285", "#e8590c", "#c92a2a", "#862e9c", "#2b8a3e")


def plot_evaluations(groups: Mapping[str, Sequence[Record]], floors: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Frechet distance against evaluations of the network a sample, both logarithmic; every seed is a stroke, their mean a point, each floor a line."""
    with _logarithmic(path, "evaluations of the network for one sample", "Frechet distance to test digits") as axis:
        for records, colour in zip(groups.values(), _COLOURS, strict=False):
            ways = [way for way in records[0]["ways"] if "temperature" not in way]
            points = {records[0]["ways"][way]["evaluations"]: [record["ways"][way].get("frechet_classifier") for record in records] for way in ways}
            known = {number: [value for value in values if value is not None] for number, values in points.items() if any(values)}
            axis.plot(list(known), [mean(values) for values in known.values()], color=colour, marker="o", label=records[0]["title"])
            for number, values in known.items():
                axis.plot([number] * len(values), values, color=colour, marker="_", linestyle="none")
        for name, values in floors.items():
            axis.axhline(values["frechet_classifier"], color="#868e96", linestyle=":", linewidth=1)
            axis.annotate(
                name,
                (1, values["frechet_classifier"]),
                (0.99, 3),
                xycoords=("axes fraction", "data"),
                textcoords=("axes fraction", "offset points"),
                ha="right",
                fontsize=8,
                color="#868e96",
            )


def plot_scaling(records: Sequence[Record], trend: Trend, path: Path) -> None:
    """Frechet distance against seconds of training, a line for each size; dashed, the trend through all of them."""
    with _logarithmic(path, "seconds of training on one core", "Frechet distance to validation digits") as axis:
        for size, colour in zip(sorted({record["parameters"] for record in records}), _COLOURS, strict=False):
            points = sorted((record["budget"], distance(record)) for record in records if record["parameters"] == size)
            seconds = [budget for budget, _ in points]
            axis.plot(seconds, [value for _, value in points], color=colour, marker="o", label=f"{size / 1e6:.1f} million parameters")
            axis.plot(seconds, [trend(size, budget) for budget in seconds], color=colour, linestyle="--", linewidth=1)


@contextmanager
def _logarithmic(path: Path, across: str, up: str) -> Iterator[Any]:
    """The axes of a picture, which is written at the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    yield axis
    axis.set(xscale="log", yscale="log", xlabel=across, ylabel=up)
    axis.legend(frameon=False, fontsize=9)
    axis.grid(alpha=0.3, which="both")
    figure.savefig(path, format="png", dpi=130, facecolor="white", metadata={"Software": None})
