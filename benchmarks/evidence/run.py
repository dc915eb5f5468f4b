"""One run in a process of its own: steps from the budget, training, measurement. What is there already is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from benchmarks.evidence.budget import affordable, read_costs
from benchmarks.evidence.contender import Contender
from benchmarks.evidence.entries import RECIPES
from benchmarks.evidence.yardstick import FEWEST, Yardstick, floors
from benchmarks.tools.environment import environment
from linearizer_core.data import Splits
from linearizer_core.figures.images import save_grid
from linearizer_core.files import write_json

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
        "ways": _ways(contender, yardstick, run, runs / run.trained),
        **contender.examine(splits),
        "environment": environment("cpu", data=splits.info.name),
    }
    (runs / "records").mkdir(parents=True, exist_ok=True)
    write_json(runs / "records" / f"{run.name}.json", record)
    return record


def _ways(contender: Contender, yardstick: Yardstick, run: Run, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for way, evaluations in contender.ways().items():
        count = min(run.samples, max(FEWEST, SPENT // evaluations))
        for temperature in TEMPERATURES if evaluations == 1 else TEMPERATURES[:1]:
            draw = contender.draw(way, count, temperature=temperature, seed=1000 + run.seed)
            found[way if temperature == 1 else f"{way}, temperature {temperature}"] = {
                "evaluations": evaluations,
                **yardstick.measure(draw, pretrained=temperature == 1),
            }
            if temperature == 1:
                save_grid(draw.images[:100].clamp(0, 1), folder / picture(way))
    return found


def picture(way: str) -> str:
    """Name of the picture of 100 samples drawn in one way.

    Example:
        >>> picture("10 evaluations")
        '10_evaluations.png'
    """
    return f"{way.replace(' ', '_')}.png"


def perform_floors(splits: Splits, weights: Path | None, runs: Path, count: int) -> None:
    """What real images and noise get, on test images: a record of its own, once."""
    path = runs / "records" / f"{FLOORS}.json"
    if not path.exists():
        yardstick = Yardstick(splits, "test", weights, runs / "features")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"recipe": FLOORS, **yardstick.facts, "measured": floors(yardstick, splits, count)})
