"""Which runs there are, in which order. What is compared on test images was chosen on validation images. Where more than half of a budget would go before the
first step, there is no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.evidence.budget import read_costs, starting
from benchmarks.evidence.entries import ABLATIONS
from benchmarks.evidence.run import COSTS, Run, Trained, record_path
from benchmarks.evidence.tables import distance

TRIALS = {
    "ours": ("ours", "ours-batch", "ours-rank", "ours-prior"),
    "unlabelled": ("unlabelled", "unlabelled-clusters", "unlabelled-more-clusters", "unlabelled-prior", "unlabelled-batch"),
    "published": (
        "published",
        "published-optimiser",
        "published-couplings",
        "published-perceptual",
        "published-batch",
        "published-rank",
        "published-rank-batch",
    ),
}
"""By family, the recipes of which one is chosen. Small batches were added to those without labels and to those of the published recipe when it was seen how
much they help with labels, and rank 16 to the latter when it was seen to help, too."""
DESIGN = "published"
"""The published recipe in every part, too expensive for several seeds: it is shown beside the chosen one, whatever the trials say of it."""
OTHERS = ("likelihood", "matching")
REFERENCE = "ours"
"""The recipe beside which the costs of all others are measured."""
TRIAL_SECONDS, SECONDS, SEEDS = 200.0, 600.0, (0, 1, 2)
SAMPLES = 5000
WIDTHS = ("size-quarter", "size-half", "ours", "size-double")
BUDGETS = (75.0, 150.0, 300.0, 600.0)
SHIPPED = ("flow.mnist", "flow.mnist-unlabelled")
"""Models of the registry that are measured with the same yardstick."""
BEFORE = "-before"
"""What the name of a shipped model ends with where records call the one that it replaced."""
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


def shipped(name: str, split: str = "test", seed: int = 0, address: str | None = None) -> Trained:
    """A model of the registry, or from ``address`` another seed of it, or one that it replaced."""
    title = f"the one before `{name.removesuffix(BEFORE)}`" if name.endswith(BEFORE) else f"`{name}`"
    return Trained(name, title, address or name, seed, split, SAMPLES)


def plan(group: str, runs: Path) -> list[Run]:
    """The runs of a group, in order. What the main ones are depends on the records of the trials in ``runs``."""
    if group == "main":
        compared = (*(chosen(family, runs) for family in TRIALS), *OTHERS)
        return [final(DESIGN, SEEDS[0]), *(final(recipe, seed) for recipe in compared for seed in SEEDS)]
    if group == "scaling":
        costs = read_costs(runs / COSTS)
        return [size(recipe, budget) for budget in BUDGETS for recipe in WIDTHS if starting(costs[recipe]) <= budget / 2]
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
