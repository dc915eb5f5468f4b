"""The table of the benchmark of training."""

from __future__ import annotations

from benchmarks.tools.results import Results, target_table
from benchmarks.tools.tables import mebibytes, number, ratio, spread, table


def report(results: Results) -> str:
    """Loops, processes, targets, and what the rows are."""
    header = ["way", "parameters", "time of a step", "steps a second", "of the plain loop's time", "peak memory above the model, MiB"]
    loops = [
        [
            case["way"],
            f"{case['parameters']:,}",
            spread(case["time"]),
            number(1 / case["time"]["median"]),
            ratio(case["over_plain"]),
            mebibytes(case["peak"]),
        ]
        for case in results.cases
        if "peak" in case
    ]
    processes = [
        [case["way"], str(case["threads"]), spread(case["time"]), number(1 / case["time"]["median"]), ratio(case["over_one"])]
        for case in results.cases
        if "over_one" in case
    ]
    parts = [table(header, loops)]
    if processes:
        parts.append(table(["", "threads each", "time of a step", "steps a second", "of one process's time"], processes))
    return "\n\n".join([*parts, target_table(results.targets), _notes(results)])


def _notes(results: Results) -> str:
    settings = results.settings
    notes = (
        f"First stage of `configs/flow_mnist.toml`, batch {settings['batch_size']} over all processes, bfloat16 conditioners. Times: median (least to most) of "
        f"{settings['repeats']} turns of {settings['window']} steps. The published design trains all its parameters at once, and its loss takes two forward "
        "and three inverse passes, where ours takes one of each."
    )
    return " ".join(part for part in (notes, settings["left_out"]) if part)
