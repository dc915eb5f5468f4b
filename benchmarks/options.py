"""What else might make sampling and training faster, and whether it does: each option beside the code as it is, in turns.

    python -m benchmarks.options [--quick] [--device cpu] [--repeats 7] [--out runs/bench]

The model of `configs/flow_mnist.toml` with random weights, on random images. Sampling: one step, batch 1 and 64. Training: loss and gradients of its first
stage, batch 128, float32 unless the option says otherwise. Compilation itself is not timed. Writes OUT/options.json and OUT/options.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch._dynamo
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.flow_models import FlowModel, latent_prior, random_images
from benchmarks.tools import command
from benchmarks.tools.environment import SEED, environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results
from benchmarks.tools.tables import ratio, spread, table
from benchmarks.tools.timing import Spread, seconds
from linearizer_core.bijections import set_compiled
from linearizer_core.data import collate
from linearizer_core.training.execution import set_convolution_layout

NAME = "options"
AS_IS = "as it is"
LEAST_SECONDS = 0.2
Call = Callable[[], object]


@contextmanager
def compiled(model: nn.Module) -> Iterator[None]:
    """`training.compile`."""
    set_compiled(model, True)
    try:
        yield
    finally:
        set_compiled(model, False)


@contextmanager
def channels_last(model: nn.Module) -> Iterator[None]:
    """`training.channels_last`."""
    set_convolution_layout(model, torch.channels_last)
    try:
        yield
    finally:
        set_convolution_layout(model, torch.contiguous_format)


@contextmanager
def lowered(model: nn.Module) -> Iterator[None]:
    """bfloat16 conditioners."""
    device = next(model.parameters()).device.type
    with torch.autocast(device, dtype=torch.bfloat16):
        yield


@contextmanager
def in_inference_mode(model: nn.Module) -> Iterator[None]:
    """`torch.inference_mode` around the call, in place of `torch.no_grad` in it."""
    with torch.inference_mode():
        yield


@contextmanager
def on_one_thread(model: nn.Module) -> Iterator[None]:
    """One CPU thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


OPTIONS: dict[str, Callable[[nn.Module], Any]] = {
    "`torch.compile` of conditioners": compiled,
    "channels-last convolutions": channels_last,
    "bfloat16 conditioners": lowered,
    "`torch.inference_mode`": in_inference_mode,
    "one thread": on_one_thread,
}
ONLY_SAMPLING = {"`torch.inference_mode`"}


def calls(flow: FlowModel, batch_size: int, batches: tuple[int, ...], device: str) -> dict[str, Call]:
    """What is timed: samples of each batch size, and a step of training."""
    generator = torch.Generator(device).manual_seed(SEED)
    operator = flow.task.collapsed(flow.model)
    stage = flow.task.stages()[0]
    batch = next(iter(DataLoader(stage.dataset(flow.model, flow.splits), batch_size=batch_size, collate_fn=collate)))
    batch = {name: tensor.to(device) for name, tensor in batch.items()}

    def sample(n: int) -> Call:
        def call() -> object:
            flow.model.eval().requires_grad_(False)
            return flow.task.sample(flow.model, n, generator, operator=operator)

        return call

    def train() -> object:
        flow.model.train().requires_grad_(True)
        flow.model.zero_grad()
        loss = stage.loss(flow.model, batch, generator)["loss"]
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    return {**{f"sampling, batch {n}": sample(n) for n in batches}, f"training, batch {batch_size}": train}


def turn(call: Call, option: str, model: nn.Module, device: str, number: int) -> float:
    """Seconds of one of ``number`` calls under an option; two more before the clock starts, which compile and load kernels."""
    if option == AS_IS:
        return seconds(call, device, number)
    with OPTIONS[option](model):
        for _ in range(2):
            call()
        return seconds(call, device, number)


def measure(*, batch_size: int, batches: tuple[int, ...], device: str, repeats: int, quick: bool) -> Results:
    """Every option for everything that is timed, in turns."""
    facts = environment(device, data="random images; random weights")
    flow = latent_prior(random_images((1, 8, 8) if quick else (1, 28, 28), 2 * batch_size), small=quick).prepared(device)
    cases: list[dict[str, Any]] = []
    figures: dict[str, Figure] = {}
    for what, call in calls(flow, batch_size, batches, device).items():
        torch._dynamo.reset()  # graphs of other batch sizes would count against the number that torch keeps
        options = [AS_IS, *(option for option in OPTIONS if what.startswith("sampling") or option not in ONLY_SAMPLING)]
        call()
        number = 1 if quick else max(1, round(LEAST_SECONDS / seconds(call, device)))
        samples: dict[str, list[float]] = {option: [] for option in options}
        for _ in range(repeats):
            for option in options:
                samples[option].append(turn(call, option, flow.model, device, number))
        timed = {option: Spread(tuple(values)) for option, values in samples.items()}
        for option in options:
            over = timed[option].over(timed[AS_IS])
            cases.append({"what": what, "option": option, "time": timed[option].to_dict(), "over_as_is": over.to_dict()})
            figures[f"{what}, {option}: seconds"] = Figure(timed[option].median, "seconds")
            print(what, option, timed[option].median, over.median, flush=True)
    settings = {"batch_size": batch_size, "batches": batches, "repeats": repeats}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, cases, figures)


def report(results: Results) -> str:
    """One row for each option."""
    rows = [[case["what"], case["option"], spread(case["time"]), ratio(case["over_as_is"])] for case in results.cases]
    notes = (
        f"Model of `configs/flow_mnist.toml`, random weights. Training: loss and gradients of the first stage. Median (least to most) of "
        f"{results.settings['repeats']} turns; a ratio below 1 is faster."
    )
    return "\n\n".join([table(["", "option", "time", "of the time as it is"], rows), notes])


def main(arguments: Sequence[str] | None = None) -> None:
    options = command.parser(__doc__, repeats=7).parse_args(arguments)
    sizes: dict[str, Any] = {"batch_size": 4, "batches": (2,)} if options.quick else {"batch_size": 128, "batches": (1, 64)}
    results = measure(**sizes, device=options.device, repeats=options.repeats, quick=options.quick)
    command.save(results, options.device, options.out, report(results))


if __name__ == "__main__":
    main()
