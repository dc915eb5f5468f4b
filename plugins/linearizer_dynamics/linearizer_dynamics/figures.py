"""The pictures of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from linearizer_core.figures.curves import save_curves
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import INK, MUTED, finish, save_strips

TRUE, PREDICTED = "#b8bec9", "#3b5bdb"
_BINS = 40
_SHOWN_FRAMES = 13


def draw(folder: Path, found: Tensor, test: dict[str, Tensor], spectrum: Sequence[complex], known: Sequence[complex] | None) -> tuple[str, ...]:
    """Write the figures that suit the data into ``folder``; their names."""
    found, test = found.cpu(), {name: tensor.cpu() for name, tensor in test.items()}
    save_spectrum(folder / "eigenvalues.png", spectrum, known)
    save_error(folder / "error.png", found, test)
    if is_image(tuple(found.shape[2:])):
        save_film(folder / "film.png", found, test)
        return "film.png", "error.png", "eigenvalues.png"
    if found.ndim != 3 or found.shape[2] < 2:
        return "error.png", "eigenvalues.png"
    save_trajectories(folder / "trajectories.png", found, test)
    save_phase(folder / "phase.png", found, test)
    return "trajectories.png", "phase.png", "error.png", "eigenvalues.png"


def save_trajectories(path: Path, found: Tensor, test: dict[str, Tensor], count: int = 4) -> None:
    """Each coordinate of a few trajectories over time: true and predicted."""
    coordinates = min(found.shape[2], 4)
    figure = Figure(figsize=(2.6 * count, 1.7 * coordinates), layout="constrained")
    axes = figure.subplots(coordinates, count, squeeze=False, sharex=True, sharey="row")
    for column in range(min(count, len(found))):
        times = torch.cat([torch.zeros(1), test["times"][column]])
        for row in range(coordinates):
            axis = axes[row, column]
            start = test["x"][column, row : row + 1]
            axis.plot(times, torch.cat([start, test["later"][column, :, row]]), color=TRUE, linewidth=3, label="true")
            axis.plot(times, torch.cat([start, found[column, :, row]]), color=PREDICTED, linewidth=1, label="predicted")
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(f"$x_{row + 1}$", color=MUTED)
        axes[-1, column].set_xlabel("t", color=MUTED)
    axes[0, 0].legend(frameon=False, fontsize=8, labelcolor=INK)
    finish(figure, path, "Test trajectories, predicted from their first state")


def save_phase(path: Path, found: Tensor, test: dict[str, Tensor], count: int = 40) -> None:
    """The first two coordinates of many trajectories: true and predicted."""
    figure = Figure(figsize=(5.2, 4.8), layout="constrained")
    axis = figure.subplots()
    for number in range(min(count, len(found))):
        for states, colour, width, label in ((test["later"], TRUE, 3.0, "true"), (found, PREDICTED, 0.9, "predicted")):
            path_of = torch.cat([test["x"][number : number + 1], states[number]])
            axis.plot(path_of[:, 0], path_of[:, 1], color=colour, linewidth=width, zorder=1 if colour == TRUE else 2, label=None if number else label)
    axis.set_xlabel("$x_1$", color=MUTED)
    axis.set_ylabel("$x_2$", color=MUTED)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    finish(figure, path, "Phase portrait")


def save_spectrum(path: Path, spectrum: Sequence[complex], known: Sequence[complex] | None) -> None:
    """Eigenvalues of the generator in the complex plane, beside the true ones where they are known."""
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.axvline(0, color=MUTED, linewidth=0.8)
    axis.axhline(0, color=MUTED, linewidth=0.8)
    if known is not None:
        axis.scatter([value.real for value in known], [value.imag for value in known], color=TRUE, s=140, label="true")
    axis.scatter([value.real for value in spectrum], [value.imag for value in spectrum], color=PREDICTED, marker="x", s=36, linewidth=1.2, label="learned")
    axis.set_xlabel("growth rate", color=MUTED)
    axis.set_ylabel("angular frequency", color=MUTED)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    finish(figure, path, "Eigenvalues of the generator")


def save_error(path: Path, found: Tensor, test: dict[str, Tensor]) -> None:
    """The relative error over time: mean, and the 5th and 95th of 100 trajectories."""
    from linearizer_dynamics.evaluation import relative_errors

    errors, times = relative_errors(found, test["later"]).flatten(), test["times"].flatten().double()
    edges = torch.linspace(0, float(times.max()), min(_BINS, test["times"].shape[1]) + 1, dtype=torch.float64)
    bins = torch.bucketize(times, edges[1:-1] * (1 + 1e-9))
    rows = [(times[bins == number], errors[bins == number]) for number in torch.unique(bins).tolist()]
    places = [float(each.mean()) for each, _ in rows]
    curves = {
        "mean": (places, [float(values.mean()) for _, values in rows]),
        "95 % of the states lie below": (places, [float(values.quantile(0.95)) for _, values in rows]),
    }
    save_curves(path, "Error of the prediction from one state", curves, x="t", y="|predicted - true| / |true|", log_y=True)


def save_film(path: Path, found: Tensor, test: dict[str, Tensor], count: int = 4) -> None:
    """A few films from their first frame, true and predicted, at evenly spread times."""
    shown = torch.linspace(0, found.shape[1] - 1, _SHOWN_FRAMES).round().int()
    groups = [[("true", test["later"][number, shown]), ("from the first frame", found[number, shown].clamp(0, 1))] for number in range(min(count, len(found)))]
    save_strips(path, f"Films by one exponential, t = {float(test['times'][0, 0]):.2g} to {float(test['times'][0, -1]):.2g}", groups)
