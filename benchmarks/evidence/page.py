"""From the records of runs to docs/evidence: one JSON file, pictures, and the tables between the markers of its page and of the README.

    python -m benchmarks.evidence.page [--runs runs/evidence]

New records replace older ones of the same name in docs/evidence/records.json, which holds them all; tables and figures come from that file alone.
costs.json beside it says what a step of each recipe cost, and where that was measured.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.evidence.entries import ABLATIONS, RECIPES
from benchmarks.evidence.figures import plot_evaluations, plot_scaling
from benchmarks.evidence.plan import BEFORE, BUDGETS, DESIGN, OTHERS, SECONDS, SHIPPED, TRIALS, WIDTHS, size, trial
from benchmarks.evidence.run import COSTS, FLOORS, Run, picture
from benchmarks.evidence.tables import (
    Record,
    ablation_table,
    by_recipe,
    choice_table,
    cost_table,
    distance,
    paper_table,
    quality_table,
    scaling_table,
    short_table,
    target_table,
    trial_table,
)
from benchmarks.evidence.trend import fit_trend
from benchmarks.publish import ROOT, insert
from benchmarks.tools.environment import sentence
from linearizer_core.files import write_json
from linearizer_core.pretrained import load

Records = dict[str, dict[str, Any]]
OUT = ROOT / "docs" / "evidence"
TITLES = {"ours": "recommended, labels", "unlabelled": "recommended, no labels", "published": "published objective, our couplings"}
"""What the chosen one of each family is called."""
TARGETS = {"ours": 8.0, "unlabelled": 20.0, "flow.mnist": 3.0, "flow.mnist-unlabelled": 8.0}
"""Frechet distances that were to be reached, set before anything was trained; for the recipes also `PART` of the published one's."""
PART = 0.1
LEAST_POINTS = 6
"""More than so many make a trend."""


def collect(runs: Path, out: Path) -> Records:
    """All records, those of ``runs`` before committed ones, with the titles that recipes have now."""
    path = out / "records.json"
    found: Records = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    new = {each.stem: json.loads(each.read_text(encoding="utf-8")) for each in sorted((runs / "records").glob("*.json"))}
    found = dict(sorted({**found, **new}.items()))
    for record in found.values():
        if record["recipe"] in RECIPES:
            record["title"] = RECIPES[record["recipe"]].title
    write_json(path, found)
    if (runs / COSTS).exists():
        shutil.copyfile(runs / COSTS, out / COSTS)
    return found


def keep_pictures(records: Records, runs: Path, out: Path) -> None:
    """Copy the samples of the first seed of what is compared on test images, where RUNS has them."""
    shown = {*_best(records).values(), DESIGN, *OTHERS}
    for record in records.values():
        if record["split"] == "test" and record["recipe"] in shown and record["seed"] == 0:
            for way in _ways(record):
                made = runs / Run(**{name: record[name] for name in Run.__dataclass_fields__}).trained / picture(way)
                if made.exists():
                    shutil.copyfile(made, out / _kept(record, way))


def sections(records: Records, out: Path) -> dict[str, str]:
    """The tables, by the name of their markers; a picture for each of them that has one."""
    found = {}
    best = _best(records)
    if best:
        found["evidence-trials"] = trial_table(_trials(records), best)
    if ablations := _ablations(records):
        references = {subject: records[trial("published-couplings" if subject == "core" else "ours").name] for subject in ablations}
        found["evidence-ablations"] = ablation_table(ablations, references)
    sizes = [records[name] for name in (size(recipe, budget).name for recipe in WIDTHS for budget in BUDGETS) if name in records]
    if len(sizes) > LEAST_POINTS:
        trend = fit_trend([record["parameters"] for record in sizes], [record["budget"] for record in sizes], [distance(record) for record in sizes])
        plot_scaling(sizes, trend, out / "scaling.png")
        law = f"FD = {trend.constant:.3g} n^{trend.of_parameters:.2f} t^{trend.of_seconds:.2f}"
        said = f"The trend, least squares of logarithms through {len(sizes)} points: `{law}` for n parameters and t seconds;"
        found["evidence-scaling"] = f"{scaling_table(sizes)}\n\n{said} it accounts for {trend.explained:.0%} of the variance. One seed."
    if models := {name: made for name in SHIPPED if (made := _of(name, "test", records))}:
        found["evidence-registry"] = quality_table(models, {})
    if choice := [record for name in SHIPPED for part in (BEFORE, "") for record in _of(name + part, "validation", records)]:
        found["evidence-registry-choice"] = choice_table(choice)
    titles = {
        **{best[family]: title for family, title in TITLES.items() if family in best},
        DESIGN: "published recipe, as described",
        **{recipe: RECIPES[recipe].title for recipe in OTHERS},
    }
    finals = [
        {**record, "title": titles[record["recipe"]]}
        for record in records.values()
        if record["recipe"] in titles and record["split"] == "test" and record["budget"] == SECONDS
    ]
    groups = {recipe: by_recipe(finals)[recipe] for recipe in titles if recipe in by_recipe(finals)}
    if groups:
        seeds = ", ".join(str(seed) for seed in sorted({record["seed"] for record in finals}))
        facts = {name: value for name, value in finals[0]["environment"].items() if name != "load"}
        source = f"{sentence({**facts, 'seed': seeds})} Command: `python -m benchmarks.evidence DATA --weights WEIGHTS`."
        measured = records.get(FLOORS, {}).get("measured", {})
        found["evidence-quality"] = f"{quality_table(groups, measured)}\n\n{source}"
        if all(best.get(family) in groups for family in TRIALS) and measured:
            chosen = {family: groups[best[family]] for family in TRIALS}
            found["evidence-opening"] = opening(chosen, measured)
            found["evidence-targets"] = targets(chosen, models)
        found["evidence-short"] = f"{short_table(groups, measured)}\n\n{source}"
        found["evidence-cost"] = cost_table(groups)
        shown = [(f"{records[0]['title']}: {way}", _kept(records[0], way)) for records in groups.values() for way in _ways(records[0])]
        found["evidence-pictures"] = "\n\n".join(f"{title}\n\n![{title}]({name})" for title, name in shown)
        plot_evaluations(groups, measured, out / "evaluations.png")
        if all(best.get(family) in groups for family in ("unlabelled", "published")):
            found["evidence-paper"] = paper_table(groups, best)
    return found


def opening(chosen: Mapping[str, Sequence[Mapping[str, Any]]], floors: Mapping[str, Mapping[str, float]]) -> str:
    """Three sentences that anyone can understand."""
    at = {family: f"{mean(distance(record) for record in records):.0f}" for family, records in chosen.items()}
    real, noise = (f"{floors[name]['frechet_classifier']:,.{digits}f}" for name, digits in (("training images", 1), ("uniform noise", 0)))
    return (
        "A linearizer turns noise into an image in a single step: two invertible networks, and between them nothing but one matrix. "
        f"After {SECONDS / 60:g} minutes of training on one processor core, its digits are at a Frechet distance, which compares two sets of images and is "
        f"better when lower, of {at['unlabelled']} from real ones, or of {at['ours']} when it is told which digits to write; real digits are at {real} of each "
        f"other, noise is at {noise}, and the published objective is at {at['published']} in the same time on networks of the same kind and size. "
        "It is no match for networks that are trained for days: colour photographs come out with the right colours and the wrong objects."
    )


def targets(chosen: Mapping[str, Sequence[Record]], models: Mapping[str, Sequence[Record]]) -> str:
    """What was to be reached, and what was."""
    published = mean(distance(record) for record in chosen["published"])
    ours = {family: records for family, records in chosen.items() if family != "published"}
    rows = [(TITLES[family], TARGETS[family], records) for family, records in ours.items()]
    rows += [(f"{TITLES[family]}, against {PART:g} of the published objective", PART * published, records) for family, records in ours.items()]
    rows += [(records[0]["title"], TARGETS[name], records) for name, records in models.items()]
    return target_table(rows)


def keep_shipped(out: Path) -> None:
    """Copy pictures of the first model of the registry that is measured here."""
    for name in ("interpolation.png", "inversion.png"):
        (out / f"{SHIPPED[0]}_{name}").write_bytes(load(SHIPPED[0]).pictures[name])


def _trials(records: Records) -> dict[str, list[dict[str, Any]]]:
    found = {family: [records[name] for name in (trial(recipe).name for recipe in recipes) if name in records] for family, recipes in TRIALS.items()}
    return {family: tried for family, tried in found.items() if tried}


def _best(records: Records) -> dict[str, str]:
    """By family, the recipe with the least distance to validation images."""
    return {family: min(tried, key=distance)["recipe"] for family, tried in _trials(records).items()}


def _of(name: str, split: str, records: Records) -> list[dict[str, Any]]:
    """The records of a model that was trained elsewhere, by seed."""
    found = [record for record in records.values() if record["recipe"] == name and record["split"] == split]
    return sorted(found, key=lambda record: record["seed"])


def _ways(record: Mapping[str, Any]) -> list[str]:
    return [way for way in record["ways"] if "temperature" not in way]


def _kept(record: Mapping[str, Any], way: str) -> str:
    return f"{record['recipe']}_{picture(way)}"


def _ablations(records: Records) -> dict[str, list[dict[str, Any]]]:
    found = {subject: [records[name] for name in (trial(recipe).name for recipe in changes) if name in records] for subject, changes in ABLATIONS.items()}
    return {subject: changed for subject, changed in found.items() if changed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    runs = parser.parse_args().runs
    records = collect(runs, OUT)
    if not records:
        parser.error(f"--runs {runs} holds no records; python -m benchmarks.evidence makes them")
    keep_pictures(records, runs, OUT)
    keep_shipped(OUT)
    for name, text in sections(records, OUT).items():
        places = [str(page.relative_to(ROOT)) for page in (OUT / "index.md", ROOT / "README.md") if insert(page, name, text)]
        print(f"{name}: {', '.join(places) or 'no page has its marker'}")


if __name__ == "__main__":
    main()
