"""Which runs there are, in which order. What is compared on test images was chosen on validation images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.evidence.run import Run

TRIALS = {
    "ours": ("ours", "ours-batch", "ours-rank", "ours-prior"),
    "unlabelled": ("unlabelled", "unlabelled-clusters", "unlabelled-more-clusters", "unlabelled-prior"),
    "published": ("published", "published-optimiser", "published-couplings", "published-perceptual"),
}
"""By family, the recipes of which one is chosen: as many for the published recipe as for ours."""
OTHERS = ("likelihood", "matching")
TRIAL_SECONDS, SECONDS, SEEDS = 200.0, 600.0, (0, 1, 2)
SAMPLES = 5000
GROUPS = ("trials", "main")


def trial(recipe: str) -> Run:
    """One candidate, on validation images."""
    return Run(recipe, 0, TRIAL_SECONDS, "validation", SAMPLES)


def final(recipe: str, seed: int) -> Run:
    """One model that the tables show, on test images."""
    return Run(recipe, seed, SECONDS, "test", SAMPLES)


def plan(group: str, runs: Path) -> list[Run]:
    """The runs of a group, in order. What the main ones are depends on the records of the trials in ``runs``."""
    if group == "trials":
        return [trial(recipe) for family in TRIALS.values() for recipe in family]
    recipes = (*(chosen(family, runs) for family in TRIALS), *OTHERS)
    return [final(recipe, seed) for seed in SEEDS for recipe in recipes]


def chosen(family: str, runs: Path) -> str:
    """The recipe with the least Frechet distance to validation images."""
    distances = {recipe: distance(read(runs, trial(recipe))) for recipe in TRIALS[family]}
    return min(distances, key=distances.__getitem__)


def distance(record: dict[str, Any]) -> float:
    """The Frechet distance on the classifier's features at temperature 1, by the cheapest way to sample; infinite where there were too few finite images."""
    return float(next(iter(record["ways"].values())).get("frechet_classifier", "inf"))


def read(runs: Path, run: Run) -> dict[str, Any]:
    """The record of a run.

    Raises:
        FileNotFoundError: where it has not been made yet.
    """
    found: dict[str, Any] = json.loads(path_of(runs, run).read_text(encoding="utf-8"))
    return found


def path_of(runs: Path, run: Run) -> Path:
    """Where the record of a run is."""
    return runs / "records" / f"{run.name}.json"
