"""Memory and time of reversible backpropagation beside plain backpropagation and torch's checkpointing.

    python -m benchmarks.reversible [--depths 8 16 32] [--repeats 9] [--out runs/reversible]

One training step (forward, loss, backward) of affine couplings with convolutional conditioners on 12 x 16 x 16 inputs, float32. Memory: each case in a
process of its own, peak resident size above that of the idle model, and bytes of the tensors kept for the backward pass. Time: the three ways take turns in
one process; medians of the repeats, and ratios to plain. Writes OUT/reversible.json and OUT/reversible.md; `python -m benchmarks.publish` puts the table into
the documentation.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from linearizer_core.bijections import AffineCoupling, Chain, ConvConditioner, Reversible, set_reversible
from linearizer_core.files import write_json, write_text

SHAPE = (12, 16, 16)
BATCH = 64
WIDTH = 64
SEED = 0
WAYS = ("plain", "checkpoint", "reversible")
MEBI = 2**20


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


def resident(field: str) -> int:
    """A field of the process's memory status, in bytes: VmRSS, or VmHWM, the largest since the mark was reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def worker(depth: int, way: str) -> None:
    """Print the peak memory of a step above that of the idle model and its gradients."""
    chain, x = build(depth)
    for parameter in chain.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step(Chain(chain[0]), x[:1], "plain")  # loads the kernels
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark; getrusage would report the parent's
    idle = resident("VmRSS")
    step(chain, x, way)
    peak = resident("VmHWM")
    print(json.dumps({"peak": peak - idle, "kept": None if way == "checkpoint" else kept_bytes(chain, x, way)}))


def timings(depth: int, repeats: int) -> dict[str, Any]:
    """Median seconds and spread of each way, taking turns, and the cosine of their gradients with plain ones."""
    chain, x = build(depth)
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    found: dict[str, Tensor] = {}
    for repeat in range(repeats + 1):
        for way in WAYS:
            start = time.perf_counter()
            gradients = step(chain, x, way)
            if repeat:  # the first one warms up
                seconds[way].append(time.perf_counter() - start)
            found[way] = torch.cat([gradient.flatten() for gradient in gradients]).double()
    cosine = {way: float(functional.cosine_similarity(found[way], found["plain"], dim=0)) for way in WAYS}
    return {
        way: {"seconds": statistics.median(values), "fastest": min(values), "slowest": max(values), "cosine": cosine[way]} for way, values in seconds.items()
    }


def measure(depths: list[int], repeats: int) -> dict[str, Any]:
    cases: list[dict[str, Any]] = []
    for depth in depths:
        timed = timings(depth, repeats)
        for way in WAYS:
            done = subprocess.run([sys.executable, "-m", "benchmarks.reversible", "--worker", str(depth), way], check=True, capture_output=True, text=True)
            cases.append({"depth": depth, "way": way, **json.loads(done.stdout), **timed[way]})
            print(cases[-1], flush=True)
    environment = {
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seed": SEED,
        "repeats": repeats,
        "shape": SHAPE,
        "batch": BATCH,
        "width": WIDTH,
        "anchor_every": Reversible().anchor_every,
    }
    return {"environment": environment, "cases": cases}


def table(measured: dict[str, Any]) -> str:
    """Markdown: memory and time, absolute and as ratios to plain."""
    rows = [
        "| depth | way | peak memory, MiB | of plain | kept for backward, MiB | seconds a step (fastest to slowest) | of plain | gradient cosine |",
        "|" + "---|" * 8,
    ]
    plain = {case["depth"]: case for case in measured["cases"] if case["way"] == "plain"}
    for case in measured["cases"]:
        base = plain[case["depth"]]
        kept = "-" if case["kept"] is None else f"{case['kept'] / MEBI:.1f}"
        rows.append(
            f"| {case['depth']} | {case['way']} | {case['peak'] / MEBI:.0f} | {case['peak'] / base['peak']:.0%} | {kept} | "
            f"{case['seconds']:.3f} ({case['fastest']:.3f} to {case['slowest']:.3f}) | {case['seconds'] / base['seconds']:.2f} | {case['cosine']:.8f} |"
        )
    facts = measured["environment"]
    source = (
        f"`python -m benchmarks.reversible`, seed {facts['seed']}, {facts['threads']} of {facts['cpu_cores']} CPU cores, torch {facts['torch']}, float32; "
        f"affine couplings with convolutional conditioners of width {facts['width']} on {' x '.join(map(str, facts['shape']))}, batch {facts['batch']}, "
        f"an anchor every {facts['anchor_every']} blocks; medians of {facts['repeats']} steps, taken in turns. "
        "`checkpoint` is `torch.utils.checkpoint` on every block."
    )
    return "\n".join([*rows, "", source]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path("runs/reversible"))
    parser.add_argument("--worker", nargs=2, metavar=("DEPTH", "WAY"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(int(arguments.worker[0]), arguments.worker[1])
        return
    measured = measure(arguments.depths, arguments.repeats)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "reversible.json", measured)
    write_text(arguments.out / "reversible.md", table(measured))
    print(table(measured))


if __name__ == "__main__":
    main()
