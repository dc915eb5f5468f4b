"""The tables of the benchmark of the collapse."""

from __future__ import annotations

from benchmarks.tools.results import Results, target_table
from benchmarks.tools.tables import MISSING, error, marked, mebibytes, number, spread, table


def report(results: Results) -> str:
    """Ours beside the published collapse, large sizes, and targets."""
    return "\n\n".join([_compared(results), _large(results), target_table(results.targets), _notes(results)])


def _compared(results: Results) -> str:
    header = ["D", "rank", "way", "time", "times faster than published", "peak memory, MiB", "of published", "error in float32", "in float64"]
    rows = []
    for case in (case for case in results.cases if case["way"] != "large"):
        faster = number(case["speedup"]["median"]) if "speedup" in case else MISSING
        share = f"{case['memory_share']:.2%}" if "memory_share" in case else MISSING
        faster, share = marked(faster, case.get("speedup_extrapolated", False)), marked(share, case.get("memory_extrapolated", False))
        memory = mebibytes(case["peak"], extrapolated=case.get("measured_steps") == 0)
        cells = [spread(case["time"], extrapolated=case["extrapolated"]), faster, memory, share]
        rows.append([f"{case['dim']:,}", str(case["rank"]), case["way"], *cells, error(case["error_fp32"]), error(case["error_fp64"])])
    return f"**Collapse of {results.settings['steps']} RK4 steps.**\n\n" + table(header, rows)


def _large(results: Results) -> str:
    header = ["D", "R", "T", "solver", "time", "peak memory above the model, MiB"]
    rows = [
        [f"{case['dim']:,}", str(case["rank"]), f"{case['steps']:,}", case["to"], spread(case["time"]), mebibytes(case["peak"])]
        for case in results.cases
        if case["way"] == "large"
    ]
    return "**Large sizes, shared subspace.**\n\n" + table(header, rows)


def _notes(results: Results) -> str:
    settings = results.settings
    return (
        f"Times: median (least to most) of {settings['repeats']} turns. Dense: the product of all D x D step matrices in float32, on the per-step core; "
        "RK4 with nested stages, or as published. Error: relative, on standard normal latents, against the RK4 loop in float64; that of the published "
        "collapse is the error of its method, without rounding, taken from its steps applied one after another. "
        "[x]: extrapolated from fewer steps, or from smaller D. "
        "Memory: peak of a process of its own above the model that is idle there; of dense products, that of three steps."
    )
