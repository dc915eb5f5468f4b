"""What the tolerance and the precision of the collapse cost: rank, error and time of the operator of a per-step low-rank core.

    python -m benchmarks.tolerance [--quick] [--device cpu] [--repeats 5] [--out runs/bench]

RK4, T = 100 to t = 0.99, rank 16, weights random. Every product is cut to the singular values above ``rtol`` times its largest; the product is composed in
float64 or in float32. Errors are those of the operator against the RK4 loop, both of the same velocities, in float64. All cases of one D take turns. Writes
OUT/tolerance.json and OUT/tolerance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.collapse_cores import Flow, random_core, relative_error
from benchmarks.tools import command
from benchmarks.tools.environment import environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results
from benchmarks.tools.tables import error, mebibytes, spread, table
from benchmarks.tools.timing import interleaved
from linearizer_core.operators import LinearOperator

NAME = "tolerance"
TOLERANCES = (None, 1e-9, 1e-7, 1e-5, 1e-3)
DTYPES = (torch.float64, torch.float32)


def collapse(flow: Flow, rtol: float | None, dtype: torch.dtype) -> LinearOperator:
    """The collapse with one tolerance and precision."""
    return flow.core.propagator(flow.grid, flow.solver, terminal=flow.terminal, rtol=rtol, dtype=dtype)


def bytes_of(operator: LinearOperator) -> int:
    """What the operator takes when it is stored in float32."""
    return sum(tensor.numel() * 4 for tensor in operator.tensors().values())


@torch.no_grad()
def measure(*, dims: tuple[int, ...], rank: int, steps: int, device: str, repeats: int, quick: bool) -> Results:
    """Every tolerance in both precisions, at each D."""
    facts = environment(device, data="none; random weights, standard normal latents")
    cases: list[dict[str, Any]] = []
    figures: dict[str, Figure] = {}
    for dim in dims:
        flow = Flow(random_core("low_rank", dim, rank, device), steps)
        calls = {f"{dtype} {rtol}": partial(collapse, flow, rtol, dtype) for dtype in DTYPES for rtol in TOLERANCES}
        timed = interleaved(calls, repeats, device=device)
        z = flow.latents().double()
        loop = flow.loop(z)
        for dtype in DTYPES:
            for rtol in TOLERANCES:
                operator = collapse(flow, rtol, dtype)
                values = operator.tensors()
                case = {
                    "dim": dim,
                    "dtype": str(dtype).removeprefix("torch."),
                    "rtol": rtol,
                    "columns": values["left"].shape[1] if "left" in values else dim,
                    "error": relative_error(operator.to(torch.float64)(z), loop),
                    "bytes": bytes_of(operator),
                    "time": timed[f"{dtype} {rtol}"].to_dict(),
                }
                cases.append(case)
                print({key: value for key, value in case.items() if key != "time"}, case["time"]["median"], flush=True)
                figures[f"D = {dim}, {case['dtype']}, rtol {rtol or 'default'}: error"] = Figure(case["error"], "error")
                figures[f"D = {dim}, {case['dtype']}, rtol {rtol or 'default'}: columns"] = Figure(case["columns"], "memory")
    settings = {"dims": dims, "rank": rank, "steps": steps, "repeats": repeats}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, cases, figures)


def report(results: Results) -> str:
    """One row for each tolerance and precision."""
    header = ["D", "composed in", "`rtol`", "rank of P Q^T", "size in float32, MiB", "relative error", "time"]
    rows = [
        [
            f"{case['dim']:,}",
            case["dtype"],
            "rounding" if case["rtol"] is None else f"{case['rtol']:.0e}",
            str(case["columns"]),
            mebibytes(case["bytes"]),
            error(case["error"]),
            spread(case["time"]),
        ]
        for case in results.cases
    ]
    settings = results.settings
    notes = (
        f"Per-step core of rank {settings['rank']}, {settings['steps'] - 1} RK4 steps. Rounding: by default what velocities in float32 cannot hold is cut. "
        f"Times: median (least to most) of {settings['repeats']} turns."
    )
    return "\n\n".join([table(header, rows), notes])


def main(arguments: Sequence[str] | None = None) -> None:
    options = command.parser(__doc__, repeats=5).parse_args(arguments)
    sizes: dict[str, Any] = {"dims": (64,), "rank": 2, "steps": 8} if options.quick else {"dims": (1024, 3072), "rank": 16, "steps": 100}
    results = measure(**sizes, device=options.device, repeats=options.repeats, quick=options.quick)
    command.save(results, options.device, options.out, report(results))


if __name__ == "__main__":
    main()
