"""How the time of collapse, sampling and training grows with D, depth, rank and number of steps T: exponents of power laws, and log-log plots.

    python -m benchmarks.growth [--quick] [--device cpu] [--repeats 5] [--out runs/bench]

One size varies, the others keep their base value. The values of a size take turns. The exponent is the slope of a straight line through the medians in
log-log scale, by least squares; R^2 says how straight they lie. A time that hardly grows has an exponent near 0, and then R^2 means little: look at the
last column. Writes OUT/growth.json, OUT/growth.md and OUT/growth-QUANTITY.png.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from matplotlib.figure import Figure as Plot

from benchmarks.collapse_cores import Flow, random_core
from benchmarks.tools import command
from benchmarks.tools.environment import SEED, environment, slug
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results
from benchmarks.tools.tables import MISSING, seconds, table
from benchmarks.tools.timing import interleaved
from linearizer_core.factory import create_backbone, create_core
from linearizer_core.model import LinearizerModel
from linearizer_core.testing.perturb import perturb
from linearizer_flow.config import FlowConfig
from linearizer_flow.sampling import flow_core
from linearizer_flow.task import FlowTask

NAME = "growth"
Variable = Literal["D", "depth", "rank", "T"]
Call = Callable[[], object]


@final
@dataclass(frozen=True)
class Sizes:
    """What may vary: D, couplings of each level, rank of the core, and T; the batch of sampling and training does not."""

    D: int
    depth: int
    rank: int
    T: int
    batch: int = 16


@final
@dataclass(frozen=True)
class Sweep:
    """One line of a plot: ``way`` of ``quantity`` for several values of one variable."""

    quantity: str
    way: str
    variable: Variable
    values: tuple[int, ...]
    base: Sizes


def fit_power_law(sizes: Sequence[float], times: Sequence[float]) -> tuple[float, float]:
    """Exponent and R^2 of the straight line through log size and log time.

    Example:
        >>> exponent, r_squared = fit_power_law([1, 10, 100], [2.0, 200.0, 20000.0])
        >>> round(exponent, 9), round(r_squared, 9)
        (2.0, 1.0)
    """
    x, y = np.log(sizes), np.log(times)
    slope, intercept = np.polyfit(x, y, 1)
    left, total = float(((y - slope * x - intercept) ** 2).sum()), float(((y - y.mean()) ** 2).sum())
    return float(slope), 1 - left / total if total else 1.0


def collapse_call(way: str, sizes: Sizes, device: str) -> Call:
    """One collapse, of RK4."""
    if way == "shared subspace":
        return Flow(random_core("shared_subspace", sizes.D, sizes.rank, device), sizes.T).ours
    flow = Flow(random_core("low_rank", sizes.D, sizes.rank, device), sizes.T)
    return flow.ours if way == "per-step low rank" else partial(flow.dense, nested=True)


def sampling_call(way: str, sizes: Sizes, device: str) -> Call:
    """A batch of samples, of a model with a noise encoder."""
    task, model = _model(sizes)
    perturb(model)
    model.to(device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(SEED)
    if way == "one step":
        operator = flow_core(model).one_step(steps=sizes.T, solver="rk4", terminal="early")
        return partial(task.sample, model, sizes.batch, generator, operator=operator)
    return partial(task.sample, model, sizes.batch, generator, {"steps": sizes.T})


def training_call(way: str, sizes: Sizes, device: str) -> Call:
    """Loss and gradients of a batch."""
    task, model = _model(sizes)
    model.to(device).train()
    stage = task.stages()[0]
    generator = torch.Generator(device).manual_seed(SEED)
    batch = {"x": torch.rand(sizes.batch, *model.gy.in_shape, generator=generator, device=device)}

    def step() -> None:
        model.zero_grad()
        stage.loss(model, batch, generator)["loss"].backward()  # type: ignore[no-untyped-call]

    return step


CALLS: dict[str, Callable[[str, Sizes, str], Call]] = {"collapse": collapse_call, "sampling": sampling_call, "training": training_call}


def sweeps(*, quick: bool) -> list[Sweep]:
    """All lines of the plots."""
    if quick:
        collapse, network = Sizes(D=64, depth=2, rank=4, T=8), Sizes(D=64, depth=2, rank=4, T=4, batch=2)
        large, small, steps, ranks, depths = (64, 128), (32, 64), (4, 8), (2, 4), (2, 4)
        return [
            Sweep("collapse", "shared subspace", "D", large, collapse),
            Sweep("collapse", "dense", "D", small, collapse),
            Sweep("sampling", "one step", "depth", depths, network),
            Sweep("sampling", "loop", "T", steps, network),
            Sweep("training", "step", "rank", ranks, network),
        ]
    collapse, network = Sizes(D=4096, depth=4, rank=16, T=100), Sizes(D=1024, depth=4, rank=16, T=100)
    found = [
        Sweep("collapse", "shared subspace", "D", (1024, 4096, 16_384, 65_536), collapse),
        Sweep("collapse", "shared subspace", "rank", (8, 16, 32, 64, 128), collapse),
        Sweep("collapse", "shared subspace", "T", (50, 100, 200, 400, 800), collapse),
        Sweep("collapse", "per-step low rank", "D", (512, 1024, 2048, 4096), replace(collapse, D=1024)),
        Sweep("collapse", "per-step low rank", "rank", (4, 8, 16, 32), replace(collapse, D=1024)),
        Sweep("collapse", "per-step low rank", "T", (25, 50, 100, 200), replace(collapse, D=1024)),
        Sweep("collapse", "dense", "D", (256, 512, 1024, 2048), replace(collapse, T=4)),
        Sweep("collapse", "dense", "rank", (4, 8, 16, 32), replace(collapse, D=512, T=9)),
        Sweep("collapse", "dense", "T", (5, 9, 17, 33), replace(collapse, D=512)),
    ]
    for quantity, way in (("sampling", "one step"), ("sampling", "loop"), ("training", "step")):
        found.append(Sweep(quantity, way, "D", (64, 256, 1024, 4096), network))
        found.append(Sweep(quantity, way, "depth", (2, 4, 8, 16), network))
        found.append(Sweep(quantity, way, "rank", (4, 8, 16, 32), network))
        if quantity == "sampling":
            found.append(Sweep(quantity, way, "T", (25, 50, 100, 200), network))
    return found


def measure(*, device: str, repeats: int, quick: bool) -> Results:
    """Every sweep, and its exponent."""
    facts = environment(device, data="none; random weights and images")
    cases = [run(sweep, device, repeats, least_seconds=0 if quick else 0.05) for sweep in sweeps(quick=quick)]
    figures = {f"{case['quantity']}, {case['way']}: exponent of {case['variable']}": Figure(case["exponent"], "exponent") for case in cases}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, {"repeats": repeats}, cases, figures)


def run(sweep: Sweep, device: str, repeats: int, least_seconds: float) -> dict[str, Any]:
    """Times for all values of one variable, and the fit."""
    calls = {str(value): CALLS[sweep.quantity](sweep.way, replace(sweep.base, **{sweep.variable: value}), device) for value in sweep.values}
    timed = interleaved(calls, repeats, device=device, least_seconds=least_seconds)
    medians = [timed[str(value)].median for value in sweep.values]
    # A grid of T times has T - 1 steps.
    effective = [value - 1 if sweep.variable == "T" else value for value in sweep.values]
    exponent, r_squared = fit_power_law(effective, medians)
    found = {"exponent": exponent, "r_squared": r_squared, "times": [timed[str(value)].to_dict() for value in sweep.values]}
    print(f"{sweep.quantity}, {sweep.way}, {sweep.variable}: {exponent:.2f} ({r_squared:.3f})", flush=True)
    return {**asdict(sweep), **found}


def report(results: Results, plots: Sequence[str]) -> str:
    """Exponents, and the plots."""
    header = ["", "way", "varies", "from", "to", "other sizes", "exponent", "R^2", "time at the least size", "at the largest"]
    rows = []
    for case in results.cases:
        medians = [entry["median"] for entry in case["times"]]
        others = ", ".join(f"{name} {value:,}" for name, value in case["base"].items() if name != case["variable"] and _matters(case["quantity"], name))
        span = [f"{case['values'][0]:,}", f"{case['values'][-1]:,}"]
        fitted = [f"{case['exponent']:.2f}", f"{case['r_squared']:.3f}" if math.isfinite(case["r_squared"]) else MISSING]
        rows.append(
            [
                case["quantity"],
                case["way"],
                case["variable"],
                *span,
                others,
                *fitted,
                seconds(medians[0]),
                f"{seconds(medians[-1])}, {medians[-1] / medians[0]:.3g} times",
            ]
        )
    notes = (
        "Collapse: RK4 to 1 - 1/T, networks of t included. Sampling and training: `coupling` backbone for noise and for data, low-rank core; depth: "
        f"couplings of each level. Training: loss and gradients of the published objective; it knows no T. Medians of {results.settings['repeats']} turns."
    )
    return "\n\n".join([table(header, rows), *(f"![Time of {name} in log-log scale]({file})" for name, file in zip(CALLS, plots, strict=True)), notes])


def plot(results: Results, quantity: str, path: Path) -> None:
    """Time against each variable, one panel each."""
    cases = [case for case in results.cases if case["quantity"] == quantity]
    variables = list(dict.fromkeys(case["variable"] for case in cases))
    figure = Plot(figsize=(3.6 * len(variables), 3.2), layout="constrained")
    axes = figure.subplots(1, len(variables), squeeze=False)[0]
    for axis, variable in zip(axes, variables, strict=True):
        for case in (case for case in cases if case["variable"] == variable):
            axis.loglog(case["values"], [entry["median"] for entry in case["times"]], marker="o", label=f"{case['way']}: {case['exponent']:.2f}")
        values = sorted({value for case in cases if case["variable"] == variable for value in case["values"]})
        values = values[:: math.ceil(len(values) / 6)]
        axis.set_xticks(values, labels=[f"{value:,}" for value in values], fontsize=8)
        axis.set_xticks([], minor=True)
        axis.set_xlabel(variable)
        axis.legend(fontsize=8, frameon=False)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"{quantity}, seconds")
    figure.savefig(path, dpi=150)


def _matters(quantity: str, size: str) -> bool:
    return size in {"collapse": ("D", "rank", "T"), "sampling": ("D", "depth", "rank", "T", "batch"), "training": ("D", "depth", "rank", "batch")}[quantity]


def _model(sizes: Sizes) -> tuple[FlowTask, LinearizerModel]:
    side = math.isqrt(sizes.D)
    assert side * side == sizes.D
    levels = [{"couplings": sizes.depth, "width": 32}, {"couplings": sizes.depth, "width": 64}]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        gx, gy = (create_backbone("coupling", (1, side, side), levels=levels, dense={"couplings": 0}) for _ in range(2))
        core = create_core("low_rank", (sizes.D, sizes.D), rank=sizes.rank)
    return FlowTask(FlowConfig.model_validate({"recipe": "published"})), LinearizerModel(gx, core, gy)


def main(arguments: Sequence[str] | None = None) -> None:
    options = command.parser(__doc__, repeats=5).parse_args(arguments)
    results = measure(device=options.device, repeats=options.repeats, quick=options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    plots = [".".join(part for part in (f"growth-{quantity}", slug(options.device), "png") if part) for quantity in CALLS]
    for quantity, file in zip(CALLS, plots, strict=True):
        plot(results, quantity, options.out / file)
    command.save(results, options.device, options.out, report(results, plots))


if __name__ == "__main__":
    main()
