"""From seconds to steps. What a step costs is measured once, on an idle machine, all recipes in turn; then numbers of steps are fixed, and it no longer
matters what else the machine does while it trains. Recipes that are measured later are measured beside one that was measured before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.evidence.contender import Cost, Steps
from benchmarks.evidence.recipes import Recipe
from linearizer_core.data import Splits
from linearizer_core.files import write_json

Costs = dict[str, dict[str, Cost]]
"""By recipe and stage."""
WINDOW, TURNS = 4, 3


def measure_costs(recipes: Mapping[str, Recipe], splits: Splits, weights: Path | None, reference: tuple[Recipe, Mapping[str, Cost]] | None = None) -> Costs:
    """The median of `TURNS` turns, each recipe once in each of them.

    With a ``reference``, that recipe is measured right before each of the others, which are scaled so that its first stage costs what was found before: a
    machine is not equally fast at all hours.
    """
    turns: list[Costs] = []
    for turn in range(TURNS):
        turns.append({})
        for name, recipe in recipes.items():
            factor = 1.0 if reference is None else _first(reference[1]) / _first(_cost(reference[0], splits, weights))
            found = {stage: Cost(factor * cost.step, factor * cost.start) for stage, cost in _cost(recipe, splits, weights).items()}
            turns[-1][name] = found
            print(f"turn {turn + 1} of {TURNS}: {name} {found}, scaled by {factor:.2f}", flush=True)
    return {
        name: {stage: Cost(median(turn[name][stage].step for turn in turns), median(turn[name][stage].start for turn in turns)) for stage in turns[0][name]}
        for name in recipes
    }


def _cost(recipe: Recipe, splits: Splits, weights: Path | None) -> dict[str, Cost]:
    return recipe.build(splits.info, 0, {}, weights).cost(splits, WINDOW)


def _first(stages: Mapping[str, Cost]) -> float:
    return next(iter(stages.values())).step


def affordable(costs: Mapping[str, Cost], shares: Mapping[str, float], budget: float) -> Steps:
    """Steps of each stage, at least one: what is left of the budget after all stages have started is shared.

    Example:
        >>> affordable({"a": Cost(1.0), "b": Cost(0.5, start=20.0)}, {"a": 0.75, "b": 0.25}, 100.0)
        {'a': 60, 'b': 40}
    """
    left = budget - starting(costs)
    return {name: max(1, int(left * shares[name] / cost.step)) for name, cost in costs.items()}


def starting(costs: Mapping[str, Cost]) -> float:
    """Seconds before the first steps of all stages."""
    return sum(cost.start for cost in costs.values())


def add_costs(path: Path, costs: Costs, facts: Mapping[str, Any]) -> None:
    """Write costs beside those that are there, and of each where it was measured."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {name: {"stages": {stage: cost.__dict__ for stage, cost in stages.items()}, "environment": dict(facts)} for name, stages in costs.items()}
    write_json(path, {**_read(path), **found})


def read_costs(path: Path) -> Costs:
    """What `add_costs` wrote; empty where there is nothing."""
    return {name: {stage: Cost(**values) for stage, values in found["stages"].items()} for name, found in _read(path).items()}


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def missing(costs: Costs, names: Sequence[str]) -> list[str]:
    """Recipes that were not measured yet."""
    return [name for name in dict.fromkeys(names) if name not in costs]
