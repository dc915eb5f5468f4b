"""Images a second and latency: one step, our own loop, the physical limit, and a flow-matching U-Net of as many parameters.

    python -m benchmarks.sampling [--quick] [--device cpu] [--budget 600] [--repeats 7] [--out runs/bench]

Three models: `configs/flow_mnist.toml`, whose noise side needs no network; `configs/flow_mnist_published.toml`, the same backbone for noise and for data;
and the published design with as many parameters as the first. The limit is one forward pass of the noise side, where it has a network, and one inverse pass
of the data side, on inputs made before; one step and loop go through `Task.sample`, which draws noise and labels too. Weights are random, so this is about
speed alone; how many evaluations the adaptive solver takes depends on weights, so look at the time of each. All ways take turns. Writes OUT/sampling.json
and OUT/sampling.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.flow_models import FlowModel, count, latent_prior, noise_encoder, published_design, random_images
from benchmarks.sampling_tables import report
from benchmarks.tools import command
from benchmarks.tools.environment import SEED, environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results, Target
from benchmarks.tools.timing import Spread, interleaved, seconds
from benchmarks.unet import INSTALL, adaptive, euler, matching_unet
from linearizer_flow.sampling import choose_condition, draw_noise

NAME = "sampling"
ONE, LOOP, LIMIT = "one step", "loop", "limit"
EULER, ADAPTIVE = "U-Net, Euler", "U-Net, dopri5"
OVER_LIMIT, TIMES_UNET = 1.05, 50.0
FEW = 10
LEAST_SECONDS = 0.2
Case = dict[str, Any]


def measure(*, batches: tuple[int, ...], steps: int, device: str, repeats: int, budget: float, quick: bool) -> Results:
    """Everything that the table shows. ``steps``: of the loop, and evaluations of the U-Net."""
    facts = environment(device, data="none; random weights and images", packages=("diffusers", "torchdiffeq"))
    shape = (1, 8, 8) if quick else (1, 28, 28)
    splits = random_images(shape, 256)
    ours = latent_prior(splits, small=quick)
    models = [ours, noise_encoder(splits, small=quick), published_design(splits, ours.parameters)]
    for model in models:
        model.prepared(device)
    try:
        unet, left_out = matching_unet(shape, ours.parameters).to(device), ""
        adaptive(unet, torch.zeros(1, *shape, device=device))
    except ModuleNotFoundError as error:
        unet, left_out = None, f"The U-Net is left out, since {error.name} is not installed: `{INSTALL}`."
        print(left_out, flush=True)

    cases: list[Case] = []
    for batch in batches:
        turns: dict[tuple[str, str], Callable[[], object]] = {
            (model.name, way): call for model in models for way, call in ways(model, batch, steps, device).items()
        }
        evaluations: dict[str, int] = {}
        if unet is not None:
            noise = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(SEED)).to(device)
            one = seconds(partial(euler, unet, noise, 1), device)
            evaluations = {EULER: steps, ADAPTIVE: adaptive(unet, noise)}
            fits = {way: number * one * repeats <= budget for way, number in evaluations.items()}
            few = steps if fits[EULER] else min(FEW, steps)
            turns[EULER, EULER] = partial(euler, unet, noise, few)
            if fits[ADAPTIVE]:
                turns[ADAPTIVE, ADAPTIVE] = partial(adaptive, unet, noise)
        names = {f"{model}: {way}": (model, way) for model, way in turns}
        timed = interleaved({name: turns[pair] for name, pair in names.items()}, repeats, device=device, least_seconds=0 if quick else LEAST_SECONDS)
        by_pair = {pair: timed[name] for name, pair in names.items()}
        cases += model_cases(models, by_pair, batch)
        if unet is not None:
            cases += unet_cases(by_pair, evaluations, few, batch, count(unet))
    add_throughput(cases)
    settings = {"batches": batches, "steps": steps, "repeats": repeats, "shape": shape, "budget": budget, "left_out": left_out}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, cases, figures(cases), targets(cases, models))


@torch.no_grad()
def ways(flow: FlowModel, batch: int, steps: int, device: str) -> dict[str, Callable[[], Tensor]]:
    """One step, the loop and the limit, as calls that make ``batch`` images."""
    task, model = flow.task, flow.model
    generator = torch.Generator(device).manual_seed(SEED)
    operator = task.collapsed(model)
    noise, condition = draw_noise(model, batch, generator), choose_condition(model, batch, generator, None)
    encodes = next(model.gx.parameters(), None) is not None
    latent = model.gx(noise)

    @torch.no_grad()
    def limit() -> Tensor:
        return model.gy.inverse(model.gx(noise) if encodes else latent, condition)

    return {
        LIMIT: limit,
        ONE: partial(task.sample, model, batch, generator, operator=operator),
        LOOP: partial(task.sample, model, batch, generator, {"steps": steps}),
    }


def model_cases(models: list[FlowModel], timed: dict[tuple[str, str], Spread], batch: int) -> list[Case]:
    """One entry for each of our ways."""
    return [
        {
            "model": model.name,
            "way": way,
            "batch": batch,
            "parameters": model.parameters,
            "time": timed[model.name, way].to_dict(),
            "over_limit": timed[model.name, way].over(timed[model.name, LIMIT]).to_dict(),
            "extrapolated": False,
        }
        for model in models
        for way in (LIMIT, ONE, LOOP)
    ]


def unet_cases(timed: dict[tuple[str, str], Spread], evaluations: dict[str, int], few: int, batch: int, parameters: int) -> list[Case]:
    """The U-Net with both solvers. What was not run whole takes so many times as long as each of the ``few`` evaluations of Euler that were."""
    each = timed[EULER, EULER].times(1 / few)
    run = {EULER: few, ADAPTIVE: evaluations[ADAPTIVE] if (ADAPTIVE, ADAPTIVE) in timed else 0}
    cases = []
    for way, number in evaluations.items():
        time = timed[way, way] if run[way] == number else each.times(number)
        facts = {"model": "U-Net", "way": way, "batch": batch, "parameters": parameters, "evaluations": number, "extrapolated": run[way] < number}
        cases.append({**facts, "time": time.to_dict(), "seconds_per_evaluation": time.median / number})
    return cases


def add_throughput(cases: list[Case]) -> None:
    """Images a second, and, turn by turn, as a multiple of the U-Net's with Euler."""
    for case in cases:
        case["images_per_second"] = Spread(tuple(case["time"]["samples"])).inverse().times(case["batch"]).to_dict()
        for other in cases:
            if other["way"] == EULER and other["batch"] == case["batch"]:
                faster = Spread(tuple(other["time"]["samples"])).over(Spread(tuple(case["time"]["samples"])))
                case |= {"times_unet": faster.to_dict(), "times_unet_extrapolated": other["extrapolated"]}


def figures(cases: list[Case]) -> dict[str, Figure]:
    """What a later run is compared with. The width is no part of a name: a comparison goes on when the search for it ends one further."""
    found: dict[str, Figure] = {}
    for case in cases:
        name = f"{case['model'].partition(',')[0]}, {case['way']}, batch {case['batch']}"
        if case["way"] == ONE:
            found[f"{name}: multiple of the limit"] = Figure(case["over_limit"]["median"], "overhead")
            if "times_unet" in case:
                found[f"{name}: times the throughput of the U-Net"] = Figure(case["times_unet"]["median"], "speedup", case["times_unet_extrapolated"])
        found[f"{name}: seconds"] = Figure(case["time"]["median"], "seconds", case["extrapolated"])
    return found


def targets(cases: list[Case], models: list[FlowModel]) -> list[Target]:
    """The promises: of the two models that are ours."""
    found = []
    for case in (case for case in cases if case["way"] == ONE and case["model"] in {model.name for model in models[:2]}):
        where = f"{case['model']}, batch {case['batch']}, one step"
        found.append(Target(f"{where}: as a multiple of the limit", OVER_LIMIT, case["over_limit"]["median"], "at most"))
        if "times_unet" in case:
            ratio, marked = case["times_unet"]["median"], case["times_unet_extrapolated"]
            found.append(Target(f"{where}: times the throughput of the U-Net", TIMES_UNET, ratio, "at least", marked))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, repeats=7)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of the U-Net with one solver, all repeats together; beyond, scaled [x]")
    options = parser.parse_args(arguments)
    sizes: dict[str, Any] = {"batches": (1, 4), "steps": 5} if options.quick else {"batches": (1, 64), "steps": 100}
    results = measure(**sizes, device=options.device, repeats=options.repeats, budget=options.budget, quick=options.quick)
    command.save(results, options.device, options.out, report(results))


if __name__ == "__main__":
    main()
