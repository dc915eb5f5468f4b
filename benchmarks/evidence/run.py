"""One run in a process of its own: steps from the budget, training, measurement. What is there already is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from benchmarks.evidence.budget import affordable, read_costs
from benchmarks.evidence.contender import Contender
from benchmarks.evidence.entries import RECIPES
from benchmarks.evidence.linearizers import LinearizerContender
from benchmarks.evidence.yardstick import FEWEST, Yardstick, floors
from benchmarks.tools.environment import environment
from linearizer_core.data import Splits
from linearizer_core.figures.images import save_grid
from linearizer_core.files import write_json
from linearizer_core.pretrained import load

COSTS, FLOORS = "costs.json", "floors"
TEMPERATURES = (1.0, 0.9)
SPENT = 20_000
"""Evaluations of a network that the samples of one way may take, from which their number follows where many are needed for each."""


@final
@dataclass(frozen=True)
class Run:
    """What a process is asked for.

    Arguments:
        recipe: its name.
        seed: of weights, order and noise.
        budget: seconds for training.
        split: what the samples are compared with, ``validation`` or ``test``.
        samples: images in each comparison.
    """

    recipe: str
    seed: int
    budget: float
    split: str
    samples: int

    @property
    def trained(self) -> str:
        """Name of the folder of what was trained, whatever it is measured on."""
        return f"{self.recipe}-{self.budget:g}s-{self.seed}"

    @property
    def name(self) -> str:
        """Name of the record."""
        return f"{self.trained}-{self.split}"


def perform(run: Run, splits: Splits, weights: Path | None, runs: Path) -> dict[str, Any]:
    """Train and measure; the record, which is also written to ``RUNS/records``."""
    facts = environment("cpu", data=splits.info.name)
    recipe = RECIPES[run.recipe]
    steps = affordable(read_costs(runs / COSTS)[recipe.costs or run.recipe], recipe.shares, run.budget)
    contender = recipe.build(splits.info, run.seed, steps, weights)
    seconds = contender.train(splits, runs / run.trained)
    yardstick = Yardstick(splits, run.split, weights if run.split == "test" else None, runs / "features")
    record: dict[str, Any] = {
        **run.__dict__,
        "title": recipe.title,
        "parameters": contender.parameters,
        "steps": steps,
        "seconds": seconds,
        **yardstick.facts,
        "ways": _ways(contender, yardstick, run.samples, 1000 + run.seed, runs / run.trained),
        **contender.examine(splits),
        "environment": facts,
    }
    write_record(runs, run.name, record)
    return record


def _ways(contender: Contender, yardstick: Yardstick, samples: int, seed: int, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for way, evaluations in contender.ways().items():
        count = min(samples, max(FEWEST, SPENT // evaluations))
        for temperature in TEMPERATURES if evaluations == 1 else TEMPERATURES[:1]:
            draw = contender.draw(way, count, temperature=temperature, seed=seed)
            found[way if temperature == 1 else f"{way}, temperature {temperature}"] = {
                "evaluations": evaluations,
                **yardstick.measure(draw, pretrained=temperature == 1),
            }
            if temperature == 1:
                save_grid(draw.images[:100].clamp(0, 1), folder / picture(way))
    return found


@final
@dataclass(frozen=True)
class Trained:
    """A model that was trained elsewhere, for longer, and what it is compared with.

    Arguments:
        name: how records call the recipe; for models of the registry, their name there.
        title: how the tables call it.
        address: from where it is loaded: a name, a folder, or a repository.
        seed: that of its training.
        split: what its samples are compared with, ``validation`` or ``test``.
        samples: images in the comparison.
    """

    name: str
    title: str
    address: str
    seed: int
    split: str
    samples: int

    @property
    def record(self) -> str:
        """Name of the record."""
        return f"{self.name}-{self.seed}-{self.split}"


def perform_trained(trained: Trained, splits: Splits, weights: Path | None, runs: Path) -> None:
    """Measure it, into ``RUNS/records``."""
    loaded = load(trained.address)
    contender = LinearizerContender(loaded.task, loaded.model, seed=trained.seed, classes=splits.info.classes if "label" in loaded.model.conditions else 0)
    yardstick = Yardstick(splits, trained.split, weights if trained.split == "test" else None, runs / "features")
    facts = {"recipe": trained.name, "title": trained.title, "seed": trained.seed, **yardstick.facts}
    write_record(runs, trained.record, {**facts, "ways": _ways(contender, yardstick, trained.samples, 1000 + trained.seed, runs / trained.record)})


def picture(way: str) -> str:
    """Name of the picture of 100 samples drawn in one way.

    Example:
        >>> picture("10 evaluations")
        '10_evaluations.png'
    """
    return f"{way.replace(' ', '_')}.png"


def perform_floors(splits: Splits, weights: Path | None, runs: Path, count: int) -> None:
    """What real images and noise get, on test images: a record of its own."""
    yardstick = Yardstick(splits, "test", weights, runs / "features")
    write_record(runs, FLOORS, {"recipe": FLOORS, **yardstick.facts, "measured": floors(yardstick, splits, count)})


def write_record(runs: Path, name: str, record: dict[str, Any]) -> None:
    """Into the folder of all records."""
    path = record_path(runs, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, record)


def record_path(runs: Path, name: str) -> Path:
    """Where the record of that name is."""
    return runs / "records" / f"{name}.json"
