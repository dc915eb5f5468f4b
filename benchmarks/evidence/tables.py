"""Tables of records: seeds of one recipe become one row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from benchmarks.tools.tables import MISSING, table

Record = Mapping[str, Any]

QUALITY = {
    "frechet_classifier": "FD",
    "frechet_efficientnet": "FD, EfficientNet",
    "kernel_efficientnet": "KID, EfficientNet",
    "precision_efficientnet": "precision",
    "recall_efficientnet": "recall",
    "nearest_training": "nearest training image",
    "label_agreement": "label agreement",
}
"""Measures of samples, and the heads of their columns."""


def of_seeds(values: Sequence[float | None]) -> str:
    """Mean and, of several seeds, the standard deviation.

    Example:
        >>> of_seeds([5.25, 5.75]), of_seeds([312.0]), of_seeds([None]), of_seeds([2e-6, 2e-6])
        ('5.50 +- 0.35', '312', '-', '2.0e-06 +- 0.0e+00')
    """
    known = [value for value in values if value is not None]
    if not known:
        return MISSING
    centre = mean(known)
    form: Callable[[float], str] = _form(centre)
    return f"{form(centre)} +- {form(stdev(known))}" if len(known) > 1 else form(centre)


def _form(size: float) -> Callable[[float], str]:
    if abs(size) >= 100:
        return "{:,.0f}".format
    if abs(size) >= 1e-2 or size == 0:
        return "{:.2f}".format
    return "{:.1e}".format


def by_recipe(records: Iterable[Record]) -> dict[str, list[Record]]:
    """Records of each recipe, its seeds in order."""
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        found.setdefault(record["recipe"], []).append(record)
    return found


def quality_table(groups: Mapping[str, Sequence[Record]], floors: Mapping[str, Mapping[str, float]]) -> str:
    """One row for each recipe and way to sample, and for real images and noise."""
    rows = []
    for records in groups.values():
        for way in records[0]["ways"]:
            measured = [record["ways"][way] for record in records]
            cells = [of_seeds([values.get(name) for values in measured]) for name in QUALITY]
            rows.append([records[0]["title"], way, str(len(records)), _count(measured[0]), *cells])
    rows += [[name, MISSING, MISSING, _count(values), *(of_seeds([values.get(measure)]) for measure in QUALITY)] for name, values in floors.items()]
    return table(["model", "sampled by", "seeds", "samples", *QUALITY.values()], rows)


def _count(measured: Mapping[str, float]) -> str:
    return f"{measured['samples']:,.0f}"


def short_table(groups: Mapping[str, Sequence[Record]], floors: Mapping[str, Mapping[str, float]]) -> str:
    """One row for each recipe and way to sample, Frechet distances and parameters only."""
    measures = ("frechet_classifier", "frechet_efficientnet")
    rows = []
    for records in groups.values():
        for way in (way for way in records[0]["ways"] if "temperature" not in way):
            distances = [of_seeds([record["ways"][way].get(measure) for record in records]) for measure in measures]
            rows.append([records[0]["title"], way, *distances, f"{records[0]['parameters']:,}"])
    rows += [[name, MISSING, *(of_seeds([values.get(measure)]) for measure in measures), MISSING] for name, values in floors.items()]
    return table(["model", "sampled by", *(QUALITY[measure] for measure in measures), "parameters"], rows)


def cost_table(groups: Mapping[str, Sequence[Record]]) -> str:
    """One row for each recipe: size, training, sampling and what holds exactly in theory."""
    rows = []
    for records in groups.values():
        first = records[0]
        sampling = ", ".join(f"{way} {of_seeds([record['sampling_seconds'][way] for record in records])}" for way in first["sampling_seconds"])
        exact = ("one_step_vs_loop_psnr_db", "published_collapse_vs_loop_psnr_db", "inversion_psnr_db", "round_trip")
        rows.append(
            [
                first["title"],
                f"{first['parameters']:,}",
                ", ".join(f"{number:,} {stage}" for stage, number in first["steps"].items()),
                of_seeds([sum(record["seconds"].values()) for record in records]),
                sampling,
                *(of_seeds([record.get(name) for record in records]) for name in exact),
            ]
        )
    header = [
        "model",
        "parameters",
        "steps",
        "training, s",
        "seconds for 64 images",
        "one step vs loop, dB",
        "published collapse vs loop, dB",
        "inversion, dB",
        "round trip, max",
    ]
    return table(header, rows)


def trial_table(families: Mapping[str, Sequence[Record]], best: Mapping[str, str]) -> str:
    """The candidates of each family on validation images, the chosen ones in bold."""
    rows = []
    for family, records in families.items():
        for record in records:
            values = next(iter(record["ways"].values()))
            title = f"**{record['title']}**" if best[family] == record["recipe"] else record["title"]
            rows.append([title, *(f"{number:,}" for number in [sum(record["steps"].values())]), of_seeds([values.get("frechet_classifier")])])
    return table(["candidate", "steps", "FD, validation"], rows)


def paper_table(groups: Mapping[str, Sequence[Record]], best: Mapping[str, str]) -> str:
    """The figures of the paper for MNIST beside those of our recipe without labels, as theirs has none, and of theirs written again."""
    columns = [groups[best[family]] for family in ("unlabelled", "published")]

    def beside(name: str) -> list[str]:
        return [of_seeds([record.get(name) for record in records]) for records in columns]

    sizes = [f"{records[0]['parameters']:,}" for records in columns]
    rows = [
        ["one step against 100 steps, PSNR in dB, their collapse", "32.4", *beside("published_collapse_vs_loop_psnr_db")],
        ["the same, stages nested", MISSING, *beside("one_step_vs_loop_psnr_db")],
        ["inversion and reconstruction, PSNR in dB", "31.6", *beside("inversion_psnr_db")],
        ["parameters", "9.1 million", *sizes],
        ["FID", '"not competitive"', "other features, see above", "other features, see above"],
    ]
    return table(["MNIST", "paper, 32x32", *(records[0]["title"] for records in columns)], rows)


def ablation_table(subjects: Mapping[str, Sequence[Record]], references: Mapping[str, Record]) -> str:
    """What each change of a recipe does, by subject; the first row of a subject is the recipe unchanged."""
    rows = []
    for subject, changed in subjects.items():
        for index, record in enumerate((references[subject], *changed)):
            values = next(iter(record["ways"].values()))
            measures = (values.get("frechet_classifier"), values.get("label_agreement"), record.get("inversion_psnr_db"), record.get("round_trip"))
            title = record["title"] if index else f"{record['title']}, unchanged"
            steps = sum(record["steps"].values())
            rows.append([subject if not index else "", title, f"{record['parameters']:,}", f"{steps:,}", *(of_seeds([value]) for value in measures)])
    return table(["subject", "change", "parameters", "steps", "FD, validation", "label agreement", "inversion, dB", "round trip, max"], rows)


def target_table(rows: Sequence[tuple[str, float, Sequence[Record]]]) -> str:
    """What was to be reached, a Frechet distance at most, and what was, by mean and by seed."""
    cells = []
    for what, target, records in rows:
        measured = [distance(record) for record in records]
        met = "yes" if max(measured) <= target else "on average" if mean(measured) <= target else "no"
        cells.append([what, of_seeds([target]), of_seeds(measured), ", ".join(of_seeds([value]) for value in measured), met])
    return table(["FD on test images", "at most", "measured", "each seed", "reached"], cells)


def choice_table(records: Sequence[Record]) -> str:
    """Models by their Frechet distances to validation images."""
    ways = list(records[0]["ways"])
    rows = [[record["title"], *(of_seeds([record["ways"][way].get("frechet_classifier")]) for way in ways)] for record in records]
    return table(["model", *(f"FD, validation, {way}" for way in ways)], rows)


def scaling_table(records: Sequence[Record]) -> str:
    """Frechet distances by width and budget."""
    budgets = sorted({record["budget"] for record in records})
    found = {(record["parameters"], record["budget"]): distance(record) for record in records}
    sizes = sorted({size for size, _ in found})
    return table(
        ["parameters", *(f"{budget:g} s" for budget in budgets)],
        [[f"{size:,}", *(of_seeds([found.get((size, budget))]) for budget in budgets)] for size in sizes],
    )


def distance(record: Record) -> float:
    """The Frechet distance on the classifier's features at temperature 1, by the cheapest way to sample; infinite where there were too few finite images."""
    return float(next(iter(record["ways"].values())).get("frechet_classifier", "inf"))
