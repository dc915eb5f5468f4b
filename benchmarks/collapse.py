"""The collapse of a flow beside the published one, which multiplies D x D matrices: time, peak memory, error; and large sizes, which it cannot do.

    python -m benchmarks.collapse [--quick] [--device cpu] [--budget 300] [--repeats 5] [--out runs/bench]

RK4, T = 100 to t = 0.99, ranks 8 and 16, weights random. All ways take turns in one process; each memory figure comes from a process of its own. Dense products
are measured where a few steps of them fit into BUDGET seconds. Where all steps do not fit, their time is that of a few, times the number of steps; where not
even a few do, it follows from the growth between the two largest sizes measured. Both are marked [x]. Writes OUT/collapse.json and OUT/collapse.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, final

from torch import Tensor

from benchmarks.collapse_cores import CoreName, Flow, dense_error, errors, random_core
from benchmarks.collapse_tables import report
from benchmarks.tools import command
from benchmarks.tools.environment import environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.memory import in_subprocess
from benchmarks.tools.results import Results, Target
from benchmarks.tools.timing import Spread, interleaved, seconds
from linearizer_core.errors import ConfigError
from linearizer_core.operators.flow import Terminal
from linearizer_core.peak_memory import peak_memory

NAME = "collapse"
Case = dict[str, Any]
PUBLISHED = "dense, as published"
NESTED = {PUBLISHED: False, "dense, RK4": True}
"""The dense ways, and whether they nest the stages."""
OURS: dict[str, CoreName] = {"per-step low rank": "low_rank", "shared subspace": "shared_subspace"}
TO_THE_END: dict[str, tuple[str, Terminal]] = {"RK4 to 1 - 1/T": ("rk4", "early"), "Magnus 4 to 1": ("magnus4", "limit")}
FEW = 3
SPEEDUPS = {3072: 1_000.0, 12_288: 10_000.0}
MEMORY_SHARE = 0.02
FP32_ERROR = 1e-5
LARGEST = 196_608
SECONDS, BYTES = 10.0, 2e9


@final
@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    dims: tuple[int, ...] = (256, 1024, 3072, 12_288)
    ranks: tuple[int, ...] = (8, 16)
    steps: int = 100
    large_dims: tuple[int, ...] = (1024, 12_288, LARGEST)
    large_ranks: tuple[int, ...] = (16, 64, 256)
    large_steps: tuple[int, ...] = (100, 1000)


QUICK = Sizes(dims=(64, 96, 128), ranks=(4,), steps=10, large_dims=(512,), large_ranks=(8,), large_steps=(10,))


def measure(sizes: Sizes, *, device: str, repeats: int, budget: float, quick: bool) -> Results:
    """Everything that the tables show."""
    facts = environment(device, data="none; random weights, standard normal latents")
    cases: list[Case] = []
    for rank in sizes.ranks:
        found: list[Case] = []
        for dim in sizes.dims:
            found += compare(dim, rank, sizes.steps, device=device, repeats=repeats, budget=budget, before=found)
        cases += found
    large = [
        large_size(dim, rank, steps, to, device=device, repeats=repeats)
        for dim in sizes.large_dims
        for rank in sizes.large_ranks
        for steps in sizes.large_steps
        for to in TO_THE_END
    ]
    settings = {**asdict(sizes), "budget": budget, "repeats": repeats}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, [*cases, *large], figures(cases, large), targets(cases, large))


def compare(dim: int, rank: int, steps: int, *, device: str, repeats: int, budget: float, before: list[Case]) -> list[Case]:
    """All ways at one size; ``before`` holds the smaller sizes, from which dense products that take too long are extrapolated."""
    flows = {way: Flow(random_core(core, dim, rank, device), steps) for way, core in OURS.items()}
    per_step = flows["per-step low rank"]
    number = len(per_step.times) - 1
    taken = {way: dense_steps(way, per_step, number, repeats=repeats, budget=budget, before=before, device=device) for way in NESTED}

    products: dict[str, Tensor] = {}

    def multiply(way: str) -> None:
        products[way] = per_step.dense(nested=NESTED[way], steps=taken[way])

    for flow in flows.values():
        flow.ours()  # the dense ways are warm already
    turns: dict[str, Callable[[], object]] = {way: partial(multiply, way) for way, count in taken.items() if count}
    turns.update({way: flow.ours for way, flow in flows.items()})
    timed = interleaved(turns, repeats, device=device, warm_up=False)
    found = {way: errors(flow) for way, flow in flows.items()}

    rows: list[Case] = []
    for way, count in taken.items():
        row: Case = {"way": way, "dim": dim, "rank": rank, "measured_steps": count, "extrapolated": count < number, "error_fp64": None}
        if count:
            row |= {"time": timed[way].times(number / count).to_dict(), "peak": peak(way, dim, rank, steps, device)}
        else:
            row |= extrapolate(way, dim, before)
        if way == PUBLISHED:
            row["error_fp32"] = found["per-step low rank"]["published"]
        else:
            row["error_fp32"] = dense_error(per_step, products[way]) if count == number else None
        rows.append(row)
    published = rows[0]
    for way in OURS:
        bytes_above = peak(way, dim, rank, steps, device)
        row = {"way": way, "dim": dim, "rank": rank, "extrapolated": False}
        row |= {"speedup_extrapolated": published["extrapolated"], "memory_extrapolated": not published["measured_steps"]}
        row |= {"time": timed[way].to_dict(), "peak": bytes_above, "memory_share": bytes_above / published["peak"]}
        row |= {"speedup": Spread(tuple(published["time"]["samples"])).over(timed[way]).to_dict()}
        row |= {"error_fp32": found[way]["fp32"], "error_fp64": found[way]["fp64"]}
        row |= {"loop_error_fp32": found[way]["loop_fp32"], "published_error": found[way]["published"]}
        rows.append(row)
    for row in rows:
        print({key: value for key, value in row.items() if not isinstance(value, dict)}, row["time"]["median"], flush=True)
    return rows


def dense_steps(way: str, flow: Flow, number: int, *, repeats: int, budget: float, before: list[Case], device: str) -> int:
    """How many steps of a dense product are measured: all, a few, or none, where the last size measured says that even these would pass the budget."""
    earlier = [case for case in before if case["way"] == way and case["measured_steps"]]
    if earlier:
        likely = earlier[-1]["time"]["median"] / number * (flow.core.dim / earlier[-1]["dim"]) ** 3
        if likely * FEW * repeats > budget:
            return 0
    one = seconds(partial(flow.dense, nested=NESTED[way], steps=1), device)
    return number if one * number * repeats <= budget else min(FEW, number)


def extrapolate(way: str, dim: int, before: list[Case]) -> Case:
    """Time and memory of a dense product, from the growth between the two largest sizes measured, repeat by repeat.

    Raises:
        ConfigError: when fewer than two sizes were measured.
    """
    measured = [case for case in before if case["way"] == way and case["measured_steps"]]
    if len(measured) < 2:
        raise ConfigError(f"{way} at D = {dim} would pass the budget, and {len(measured)} smaller sizes were measured, expected 2; raise --budget")
    smaller, larger = measured[-2:]

    def grown(small: float, large: float) -> float:
        exponent = math.log(large / small) / math.log(larger["dim"] / smaller["dim"])
        return large * float((dim / larger["dim"]) ** exponent)

    samples = tuple(grown(small, large) for small, large in zip(smaller["time"]["samples"], larger["time"]["samples"], strict=True))
    return {"time": Spread(samples).to_dict(), "peak": grown(smaller["peak"], larger["peak"])}


def large_size(dim: int, rank: int, steps: int, to: str, *, device: str, repeats: int) -> Case:
    """Our collapse at a size at which a full matrix does not fit: seconds, and bytes above the core."""
    flow = Flow(random_core("shared_subspace", dim, rank, device), steps, *TO_THE_END[to])
    time = interleaved({to: flow.ours}, repeats, device=device)[to]
    case = {"way": "large", "dim": dim, "rank": rank, "steps": steps, "to": to}
    found = {**case, "time": time.to_dict(), **in_subprocess("benchmarks.collapse", device, case)}
    print({key: value for key, value in found.items() if key != "time"}, time.median, flush=True)
    return found


def peak(way: str, dim: int, rank: int, steps: int, device: str) -> int:
    """Peak bytes of one collapse above the core."""
    bytes_above: int = in_subprocess("benchmarks.collapse", device, {"way": way, "dim": dim, "rank": rank, "steps": steps})["peak"]
    return bytes_above


def worker(case: Case, device: str) -> Case:
    """Collapse once in this process; first a small flow, which loads the kernels. A dense product keeps no more memory for many steps than for a few."""
    way, solver, terminal = case["way"], *TO_THE_END.get(case.get("to", ""), ("rk4", "early"))
    for dim in (8 * case["rank"], case["dim"]):
        flow = Flow(random_core(OURS.get(way, "low_rank") if way != "large" else "shared_subspace", dim, case["rank"], device), case["steps"], solver, terminal)
        with peak_memory(device) as mark:
            kept = flow.dense(nested=NESTED[way], steps=FEW) if way in NESTED else flow.ours()
        del kept
    return {"peak": mark.bytes}


def figures(cases: list[Case], large: list[Case]) -> dict[str, Figure]:
    """What a later run is compared with."""
    found: dict[str, Figure] = {}
    for case in (case for case in cases if case["way"] in OURS):
        name = f"{case['way']}, D = {case['dim']}, rank {case['rank']}"
        for precision in ("fp32", "fp64"):
            found[f"{name}: error in {precision}"] = Figure(case[f"error_{precision}"], "error")
        found[f"{name}: times faster than dense"] = Figure(case["speedup"]["median"], "speedup", case["speedup_extrapolated"])
        if case["dim"] in SPEEDUPS:  # where it stands out from the noise of the system
            found[f"{name}: part of the memory of dense"] = Figure(case["memory_share"], "memory", case["memory_extrapolated"])
        found[f"{name}: seconds"] = Figure(case["time"]["median"], "seconds")
    for case in large:
        name = f"D = {case['dim']}, R = {case['rank']}, T = {case['steps']}, {case['to']}"
        found[f"{name}: seconds"] = Figure(case["time"]["median"], "seconds")
        found[f"{name}: bytes"] = Figure(case["peak"], "bytes")
    return found


def targets(cases: list[Case], large: list[Case]) -> list[Target]:
    """The promises, as far as their sizes were measured."""
    ours = [case for case in cases if case["way"] in OURS]
    found = [Target("relative error to the loop, float32, RK4: the worst of all sizes", FP32_ERROR, max(case["error_fp32"] for case in ours), "at most")]
    for case in (case for case in ours if case["way"] == "shared subspace" and case["dim"] in SPEEDUPS):
        where, limit = f"shared subspace at D = {case['dim']:,}, rank {case['rank']}", SPEEDUPS[case["dim"]]
        found += [
            Target(f"{where}: times faster than the published collapse", limit, case["speedup"]["median"], "at least", case["speedup_extrapolated"]),
            Target(f"{where}: part of its peak memory", MEMORY_SHARE, case["memory_share"], "at most", case["memory_extrapolated"]),
        ]
    largest = [case for case in large if case["dim"] == LARGEST]
    if largest:
        found.append(Target(f"seconds at D = {LARGEST:,}: the worst", SECONDS, max(case["time"]["median"] for case in largest), "at most"))
        found.append(Target(f"bytes above the model at D = {LARGEST:,}: the worst", BYTES, max(case["peak"] for case in largest), "at most"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, repeats=5)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds that one dense product may take at one size, all repeats together")
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(worker(json.loads(options.worker), options.device)))
        return
    sizes = QUICK if options.quick else Sizes()
    results = measure(sizes, device=options.device, repeats=options.repeats, budget=options.budget, quick=options.quick)
    command.save(results, options.device, options.out, report(results))


if __name__ == "__main__":
    main()
