"""Memory and time of reversible backpropagation beside plain backpropagation and torch's checkpointing.

    python -m benchmarks.reversible [--depths 8 16 32] [--repeats 9] [--out runs/bench]

One training step (forward, loss, backward) of affine couplings with convolutional conditioners on 12 x 16 x 16 inputs, float32. Memory: each case in a
process of its own, peak resident size above that of the idle model, and bytes of the tensors kept for the backward pass. Time: the three ways take turns in
one process; medians of the repeats, and ratios to plain. Writes OUT/reversible.json and OUT/reversible.md; `python -m benchmarks.publish` puts the table into
the documentation.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.tools import command
from benchmarks.tools.environment import SEED, environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.memory import in_subprocess
from benchmarks.tools.results import Results, Target, target_table
from benchmarks.tools.tables import MISSING, mebibytes, ratio, spread, table
from benchmarks.tools.timing import interleaved
from linearizer_core.bijections import AffineCoupling, Chain, ConvConditioner, Reversible, set_reversible
from linearizer_core.peak_memory import peak_memory

NAME = "reversible"
SHAPE = (12, 16, 16)
BATCH = 64
WIDTH = 64
WAYS = ("plain", "checkpoint", "reversible")
DEPTH, MEMORY, TIME = 32, 0.25, 1.4
"""The depth of the targets, and what they allow."""


def build(depth: int) -> tuple[Chain, Tensor]:
    """Couplings with weights away from zero, and a batch."""
    torch.manual_seed(SEED)
    chain = Chain(*(AffineCoupling(SHAPE, ConvConditioner(6, 12, width=WIDTH), flip=bool(number % 2), log_scale_bound=0.1) for number in range(depth)))
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return chain, torch.randn(BATCH, *SHAPE)


def step(chain: Chain, x: Tensor, way: str) -> list[Tensor]:
    """One step; the gradients of all parameters."""
    set_reversible(chain, Reversible() if way == "reversible" else None)
    chain.zero_grad()
    if way == "checkpoint":
        z = x
        for block in chain:
            z = checkpoint(block, z, use_reentrant=False)
    else:
        z = chain(x)
    functional.mse_loss(z, torch.zeros_like(z)).backward()
    return [parameter.grad.clone() for parameter in chain.parameters() if parameter.grad is not None]


def kept_bytes(chain: Chain, x: Tensor, way: str) -> int:
    """Bytes of distinct tensors kept from the forward to the backward pass, parameters and input excluded."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (x, *chain.parameters())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    set_reversible(chain, Reversible() if way == "reversible" else None)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        z = chain(x)
        total = sum(kept.values())
        del z
    return total


def worker(case: dict[str, Any]) -> dict[str, Any]:
    """The peak memory of a step above that of the idle model and its gradients, and what is kept in between."""
    chain, x = build(case["depth"])
    for parameter in chain.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step(Chain(chain[0]), x[:1], "plain")  # loads the kernels
    with peak_memory("cpu") as peak:
        step(chain, x, case["way"])
    return {"peak": peak.bytes, "kept": None if case["way"] == "checkpoint" else kept_bytes(chain, x, case["way"])}


def measure(depths: list[int], repeats: int, *, quick: bool) -> Results:
    """Every way at every depth: time, memory, and the cosine of its gradients with plain ones."""
    facts = environment("cpu", data="random inputs")
    cases: list[dict[str, Any]] = []
    for depth in depths:
        chain, x = build(depth)
        timed = interleaved({way: partial(step, chain, x, way) for way in WAYS}, repeats)
        gradients = {way: torch.cat([gradient.flatten() for gradient in step(chain, x, way)]).double() for way in WAYS}
        for way in WAYS:
            cosine = float(functional.cosine_similarity(gradients[way], gradients["plain"], dim=0))
            times = {"time": timed[way].to_dict(), "over_plain": timed[way].over(timed["plain"]).to_dict()}
            cases.append({"depth": depth, "way": way, **times, "cosine": cosine, **in_subprocess("benchmarks.reversible", "cpu", {"depth": depth, "way": way})})
            print({key: value for key, value in cases[-1].items() if not isinstance(value, dict)}, timed[way].median, flush=True)
    plain = {case["depth"]: case for case in cases if case["way"] == "plain"}
    figures: dict[str, Figure] = {}
    for case in (case for case in cases if case["way"] == "reversible"):
        figures[f"depth {case['depth']}: memory over plain"] = Figure(case["peak"] / plain[case["depth"]]["peak"], "memory")
        figures[f"depth {case['depth']}: kept over plain"] = Figure(case["kept"] / plain[case["depth"]]["kept"], "memory")
        figures[f"depth {case['depth']}: time over plain"] = Figure(case["over_plain"]["median"], "overhead")
    targets = [
        target
        for case in cases
        if case["way"] == "reversible" and case["depth"] == DEPTH
        for target in (
            Target(f"reversible backpropagation, depth {DEPTH}: part of the peak memory", MEMORY, case["peak"] / plain[DEPTH]["peak"], "at most"),
            Target(f"reversible backpropagation, depth {DEPTH}: times the seconds", TIME, case["over_plain"]["median"], "at most"),
        )
    ]
    settings = {"depths": depths, "repeats": repeats, "shape": SHAPE, "batch": BATCH, "width": WIDTH, "anchor_every": Reversible().anchor_every}
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, settings, cases, figures, targets)


def report(results: Results) -> str:
    """Memory and time, absolute and as ratios to plain."""
    header = ["depth", "way", "peak memory, MiB", "of plain", "kept for backward, MiB", "time of a step", "of plain", "gradient cosine"]
    plain = {case["depth"]: case for case in results.cases if case["way"] == "plain"}
    rows = []
    for case in results.cases:
        kept = MISSING if case["kept"] is None else mebibytes(case["kept"])
        memory = [mebibytes(case["peak"]), f"{case['peak'] / plain[case['depth']]['peak']:.0%}", kept]
        rows.append([str(case["depth"]), case["way"], *memory, spread(case["time"]), ratio(case["over_plain"]), f"{case['cosine']:.8f}"])
    facts = results.settings
    notes = (
        f"Float32; affine couplings with convolutional conditioners of width {facts['width']} on {' x '.join(map(str, facts['shape']))}, "
        f"batch {facts['batch']}, an anchor every {facts['anchor_every']} blocks; medians (least to most) of {facts['repeats']} turns. "
        "`checkpoint` is `torch.utils.checkpoint` on every block."
    )
    return "\n\n".join([table(header, rows), *([target_table(results.targets)] if results.targets else []), notes])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, repeats=9)
    parser.add_argument("--depths", type=int, nargs="+", help="numbers of couplings")
    options = parser.parse_args(arguments)
    if options.worker:
        print(json.dumps(worker(json.loads(options.worker))))
        return
    results = measure(options.depths or ([2] if options.quick else [8, 16, 32]), options.repeats, quick=options.quick)
    command.save(results, "cpu", options.out, report(results))


if __name__ == "__main__":
    main()
