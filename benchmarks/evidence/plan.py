"""Which runs there are, in which order. What is compared on test images was chosen on validation images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.evidence.entries import ABLATIONS
from benchmarks.evidence.run import Run, record_path
from benchmarks.evidence.tables import distance

TRIALS = {
    "ours": ("ours", "ours-batch", "ours-rank", "ours-prior"),
    "unlabelled": ("unlabelled", "unlabelled-clusters", "unlabelled-more-clusters", "unlabelled-prior", "unlabelled-batch"),
    "published": ("published", "published-optimiser", "published-couplings", "published-perceptual"),
}
"""By family, the recipes of which one is chosen: as many for the published recipe as for ours with labels. The last one of those without was added when it
was seen how much smaller batches help with labels."""
OTHERS = ("likelihood", "matching")
REFERENCE = "ours"
"""The recipe beside which the costs of all others are measured."""
TRIAL_SECONDS, SECONDS, SEEDS = 200.0, 600.0, (0, 1, 2)
SAMPLES = 5000
WIDTHS = ("size-quarter", "size-half", "ours", "size-double")
BUDGETS = (75.0, 150.0, 300.0, 600.0)
SHIPPED = ("flow.mnist", "flow.mnist-unlabelled")
"""Models of the registry that are measured with the same yardstick."""
GROUPS = ("trials", "main", "ablations", "scaling")
"""In the order in which they are worth most."""


def trial(recipe: str) -> Run:
    """One candidate, on validation images."""
    return Run(recipe, 0, TRIAL_SECONDS, "validation", SAMPLES)


def size(recipe: str, budget: float) -> Run:
    """One point of the trend, on validation images."""
    return Run(recipe, 0, budget, "validation", SAMPLES)


def final(recipe: str, seed: int) -> Run:
    """One model that the tables show, on test images."""
    return Run(recipe, seed, SECONDS, "test", SAMPLES)


def recipes(group: str) -> list[str]:
    """The recipes that a group may need."""
    tried = [recipe for family in TRIALS.values() for recipe in family]
    return {"trials": tried, "main": [*tried, *OTHERS], "ablations": [name for about in ABLATIONS.values() for name in about], "scaling": list(WIDTHS)}[group]


def plan(group: str, runs: Path) -> list[Run]:
    """The runs of a group, in order. What the main ones are depends on the records of the trials in ``runs``."""
    if group == "main":
        compared = (*(chosen(family, runs) for family in TRIALS), *OTHERS)
        return [final(recipe, seed) for recipe in compared for seed in SEEDS]
    if group == "scaling":
        return [size(recipe, budget) for budget in BUDGETS for recipe in WIDTHS]
    return [trial(recipe) for recipe in recipes(group)]


def chosen(family: str, runs: Path) -> str:
    """The recipe with the least Frechet distance to validation images."""
    distances = {recipe: distance(read(runs, trial(recipe))) for recipe in TRIALS[family]}
    return min(distances, key=distances.__getitem__)


def read(runs: Path, run: Run) -> dict[str, Any]:
    """The record of a run.

    Raises:
        FileNotFoundError: where it has not been made yet.
    """
    found: dict[str, Any] = json.loads(path_of(runs, run).read_text(encoding="utf-8"))
    return found


def path_of(runs: Path, run: Run) -> Path:
    """Where the record of a run is."""
    return record_path(runs, run.name)
