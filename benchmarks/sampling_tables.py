"""The table of the benchmark of sampling."""

from __future__ import annotations

from typing import Any

from benchmarks.tools.results import Results, target_table
from benchmarks.tools.tables import MISSING, marked, number, ratio, seconds, spread, table


def report(results: Results) -> str:
    """A table for each batch size, targets, and what the rows are."""
    batches = [_table(results.cases, batch) for batch in results.settings["batches"]]
    return "\n\n".join([*batches, target_table(results.targets), _notes(results)])


def _table(cases: list[dict[str, Any]], batch: int) -> str:
    header = ["model", "way", "parameters", "time", "images a second", "multiple of the limit", "times the U-Net at Euler", "evaluations of the U-Net"]
    rows = []
    for case in (case for case in cases if case["batch"] == batch):
        extrapolated = case["extrapolated"]
        evaluations = f"{case['evaluations']}, {seconds(case['seconds_per_evaluation'])} each" if "evaluations" in case else MISSING
        rows.append(
            [
                case["model"],
                case["way"],
                f"{case['parameters']:,}",
                spread(case["time"], extrapolated=extrapolated),
                marked(number(case["images_per_second"]["median"]), extrapolated),
                ratio(case["over_limit"]) if "over_limit" in case else MISSING,
                marked(number(case["times_unet"]["median"]), case["times_unet_extrapolated"]) if "times_unet" in case else MISSING,
                evaluations,
            ]
        )
    return f"**Batch {batch}.**\n\n" + table(header, rows)


def _notes(results: Results) -> str:
    settings = results.settings
    notes = (
        f"Images of {' x '.join(map(str, settings['shape']))}, float32, weights random: speed only. "
        f"Times: median (least to most) of {settings['repeats']} turns. "
        "Limit: one inverse pass of g on ready latents, after one forward pass of the noise side where it has a network. "
        f"Loop: {settings['steps']} Euler steps in the latent space, one inverse pass. U-Net: {settings['steps']} Euler evaluations, or an adaptive solver "
        "whose number of evaluations depends on the weights. [x]: from fewer evaluations, scaled."
    )
    return " ".join(part for part in (notes, settings["left_out"]) if part)
