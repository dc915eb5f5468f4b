"""Steps a second and peak memory of training: our loop, a plain one written by hand, reversible backpropagation, two processes, the published design.

    python -m benchmarks.training [--quick] [--device cpu] [--window 20] [--repeats 5] [--out runs/bench]

The first stage of `configs/flow_mnist.toml` (batch 128, bfloat16 conditioners) on random images of MNIST's size. The plain loop has the same model, loss,
optimiser, schedule, clipping, average of weights and precision, and nothing of ours around them. The published design has as many parameters in all, and
the published loss, with the mean squared error in place of LPIPS. Loops take turns of WINDOW steps in one process; processes and memory have processes of
their own. The clock runs from the begin of a step to the begin of another, so that starting and saving a run do not count. Writes OUT/training.json and
OUT/training.md.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from benchmarks.clocked_stage import ClockedStage, OneStage
from benchmarks.flow_models import FlowModel, latent_prior, published_design, random_images
from benchmarks.plain_loop import shuffled_batches, train_plainly
from benchmarks.tools import command
from benchmarks.tools.environment import SEED, environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.memory import in_subprocess
from benchmarks.tools.results import Results, Target
from benchmarks.tools.timing import Spread
from benchmarks.training_tables import report
from linearizer_core.config import ReversibleConfig, TrainingConfig
from linearizer_core.data import collate
from linearizer_core.peak_memory import peak_memory
from linearizer_core.training import fit
from linearizer_core.training.accelerator import make_accelerator, set_threads

NAME = "training"
OURS, PLAIN, REVERSIBLE, PUBLISHED = "our loop", "plain loop", "our loop, reversible", "our loop, published design and loss"
WAYS = (OURS, PLAIN, REVERSIBLE, PUBLISHED)
PROCESSES = {1: "one process", 2: "two processes"}
LAUNCH = ("-m", "accelerate.commands.launch", "--config_file", str(Path(__file__).parents[1] / "configs" / "accelerate" / "two_processes.yaml"))
OVERHEAD = 1.03
MEMORY_STEPS = 2
Case = dict[str, Any]


def measure(*, window: int, device: str, repeats: int, quick: bool) -> Results:
    """Everything that the table shows."""
    facts = environment(device, data="random images", packages=("accelerate",))
    samples: dict[str, list[float]] = {way: [] for way in WAYS}
    models = {way: build(way, quick) for way in WAYS}
    for turn in range(repeats + 1):
        for way in WAYS:
            taken = run(way, models[way], window=window, device=device)
            if turn:  # the first one warms up
                samples[way].append(taken)
    timed = {way: Spread(tuple(values)) for way, values in samples.items()}
    cases = [
        {
            "way": way,
            "parameters": models[way].parameters,
            "time": timed[way].to_dict(),
            "over_plain": timed[way].over(timed[PLAIN]).to_dict(),
            "over_ours": timed[way].over(timed[OURS]).to_dict(),
            "peak": in_subprocess("benchmarks.training", device, {"way": way, "quick": quick})["peak"],
        }
        for way in WAYS
    ]
    processes, left_out = _processes(window, device, repeats, quick)
    settings = {"window": window, "repeats": repeats, "batch_size": models[OURS].task.stages()[0].config.batch_size, "left_out": left_out}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, [*cases, *processes], figures(cases, processes), targets(cases))


def build(way: str, quick: bool) -> FlowModel:
    """The model of one way, untrained."""
    splits = random_images((1, 8, 8) if quick else (1, 28, 28), 1024)
    ours = latent_prior(splits, small=quick)
    return published_design(splits, ours.parameters) if way == PUBLISHED else ours


def run(way: str, flow: FlowModel, *, window: int, device: str) -> float:
    """Seconds of a step, from ``window`` of them."""
    inner = flow.task.stages()[0]
    if way == PLAIN:
        stage = ClockedStage(inner, window=window, rehearsals=0, device=device)
        train_plainly(stage, flow.model, shuffled_batches(flow.splits, stage.config), device=device, bf16=True, seed=SEED)
    else:
        stage = ClockedStage(inner, window=window, rehearsals=1, device=device)
        with tempfile.TemporaryDirectory() as folder:
            fit(OneStage(flow.task, stage), flow.model, flow.splits, _config(way, folder))
    return stage.seconds


def _config(way: str, folder: str) -> TrainingConfig:
    reversible = ReversibleConfig() if way == REVERSIBLE else None
    return TrainingConfig(output=Path(folder), seed=SEED, mixed_precision="bf16", reversible=reversible)


def worker(case: Case, device: str) -> Case:
    """In a process of its own: peak memory of a run above the idle model; or the seconds of a step, on one of several processes."""
    flow = build(case.get("way", OURS), case["quick"])
    if "window" in case:
        return _share(flow, case["window"], device)
    model, stage = flow.model.to(device), flow.task.stages()[0]
    few = next(iter(DataLoader(flow.splits.train, batch_size=2, collate_fn=collate)))
    few_loss = stage.loss(model, {name: tensor.to(device) for name, tensor in few.items()}, torch.Generator(device))["loss"]
    few_loss.backward()  # type: ignore[no-untyped-call]  # loads the kernels
    model.zero_grad()
    with peak_memory(device) as peak:
        run(case["way"], flow, window=MEMORY_STEPS, device=device)
    return {"peak": peak.bytes}


def _share(flow: FlowModel, window: int, device: str) -> Case:
    stage = ClockedStage(flow.task.stages()[0], window=window, rehearsals=1, device=device)
    # Every process its own folder: none of them reads what another wrote.
    with tempfile.TemporaryDirectory() as folder:
        config = _config(OURS, folder)
        accelerator = make_accelerator(config)
        set_threads(accelerator, None)
        fit(OneStage(flow.task, stage), flow.model, flow.splits, config, accelerator=accelerator)
        accelerator.wait_for_everyone()
        facts = {"seconds": stage.seconds, "threads": torch.get_num_threads(), "processes": accelerator.num_processes}
        main_process = accelerator.is_main_process
        accelerator.end_training()
    return facts if main_process else {}


def _processes(window: int, device: str, repeats: int, quick: bool) -> tuple[list[Case], str]:
    """One and two processes in turn, at the same batch in all."""
    if torch.device(device).type == "cuda" and torch.cuda.device_count() < 2:
        return [], "Two processes are left out: they need two GPUs."
    work = partial(in_subprocess, "benchmarks.training", device, {"window": window, "quick": quick})
    answers: dict[int, list[Case]] = {1: [], 2: []}
    for _ in range(repeats):
        answers[1].append(work())
        answers[2].append(work(LAUNCH))
    timed = {number: Spread(tuple(answer["seconds"] for answer in given)) for number, given in answers.items()}
    cases = [
        {"way": PROCESSES[number], "time": timed[number].to_dict(), "over_one": timed[number].over(timed[1]).to_dict(), "threads": given[0]["threads"]}
        for number, given in answers.items()
    ]
    return cases, ""


def figures(cases: list[Case], processes: list[Case]) -> dict[str, Figure]:
    """What a later run is compared with."""
    by_way = {case["way"]: case for case in cases}
    found = {
        "our loop: time over the plain loop": Figure(by_way[OURS]["over_plain"]["median"], "overhead"),
        "our loop: memory over the plain loop": Figure(by_way[OURS]["peak"] / by_way[PLAIN]["peak"], "memory"),
        "reversible: time over storing": Figure(by_way[REVERSIBLE]["over_ours"]["median"], "overhead"),
        "reversible: memory over storing": Figure(by_way[REVERSIBLE]["peak"] / by_way[OURS]["peak"], "memory"),
        "ours: times faster than the published design": Figure(by_way[PUBLISHED]["over_ours"]["median"], "speedup"),
    }
    for case in processes:
        if "over_one" in case and case["way"] == PROCESSES[2]:
            found["two processes: time over one"] = Figure(case["over_one"]["median"], "overhead")
    for case in (*cases, *processes):
        found[f"{case['way']}: seconds a step"] = Figure(case["time"]["median"], "seconds")
    return found


def targets(cases: list[Case]) -> list[Target]:
    """The promise."""
    over = next(case["over_plain"]["median"] for case in cases if case["way"] == OURS)
    return [Target("our loop: time of a step as a multiple of the plain loop's", OVERHEAD, over, "at most")]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, repeats=5)
    parser.add_argument("--window", type=int, help="timed steps of a turn")
    options = parser.parse_args(arguments)
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # our loop would take a GPU that it sees
    if options.worker:
        answer = worker(json.loads(options.worker), options.device)
        if answer:
            print(json.dumps(answer))
        return
    window = options.window or (3 if options.quick else 20)
    results = measure(window=window, device=options.device, repeats=options.repeats, quick=options.quick)
    command.save(results, options.device, options.out, report(results))


if __name__ == "__main__":
    main()
