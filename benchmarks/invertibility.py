"""How invertible every backbone is: backbone x depth x precision x state of the weights.

    python -m benchmarks.invertibility [MNIST_DIR] [--backbones coupling glow ...] [--depths 4 8 16 32] [--steps 300] [--output runs/invertibility]

MNIST_DIR holds MNIST's four idx files; without it the embedded 8x8 digits take their place, which is quick. Weights are as initialised, perturbed to unit gain
(see `benchmarks.unit_gain`), or trained in float32 with the reconstruction objective of the flow task, which goes through g and through g^-1. Each is measured
in float64, in float32, and in a float32 stream with bfloat16 conditioners, on test images and on inputs far off the data. A cell (backbone, depth, state) that
is measured already with the same settings is read, not repeated: delete OUTPUT/cells when the code has changed. Writes OUTPUT/cells/*.json, and
OUTPUT/results.json and OUTPUT/*.md of the cells asked for.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.invertibility_tables import write_tables
from benchmarks.published_backbone import LEARNING_RATE, published_backbone
from benchmarks.tools.environment import cores, cpu_model
from benchmarks.unit_gain import set_unit_gain
from linearizer_core.bijections import Bijection
from linearizer_core.config import LipschitzConfig
from linearizer_core.data import stack
from linearizer_core.errors import LinearizerError
from linearizer_core.factory import create_backbone, create_dataset
from linearizer_core.files import write_json
from linearizer_core.invertibility import adversarial, far_off_inputs, gain, latent_round_trip, logdet_error, round_trip
from linearizer_core.training.record import source_commit
from linearizer_core.training.regularizer import lipschitz_penalty

Shape = tuple[int, ...]
Build = Callable[[int, Shape], Bijection]

STATES = ("initialised", "unit gain", "trained")
PRECISIONS = ("fp64", "fp32", "bf16 conditioners")
ITERATIVE_SHARE = 5
"""Backbones with an iterative inverse train and are measured on this many times less: each step costs as many times more."""
PENALTY = LipschitzConfig(weight=1.0, every=4, bound=2.0)
GAIN_EXAMPLES, LOGDET_EXAMPLES, TIMED_EXAMPLES = 8, 8, 64


def couplings(depth: int, **options: Any) -> dict[str, Any]:
    """Half of the couplings at each of the two resolutions of 28x28."""
    return {"levels": [{"couplings": depth // 2, "width": 16}, {"couplings": depth // 2, "width": 32}], "dense": {"couplings": 0}, **options}


def share(depth: int) -> float:
    """A Lipschitz constant for every conditioner whose sum over the depth is 8."""
    return 8 / depth


def bounded(depth: int) -> dict[str, Any]:
    """Options with which all log-scales of couplings sum to 1, and those of at most ``depth`` norms as well."""
    return {"log_scale_budget": 1.0, "norm_log_scale_bound": 1 / depth, "lipschitz": share(depth)}


BACKBONES: dict[str, Build] = {
    "coupling": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth)),
    "coupling, safe": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth, **bounded(depth))),
    "coupling, penalty": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth)),
    "coupling, additive": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth, coupling="additive")),
    "coupling, additive, safe": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth, coupling="additive", **bounded(depth))),
    "coupling, spline": lambda depth, shape: create_backbone("coupling", shape, **couplings(depth, coupling="spline")),
    "glow": lambda depth, shape: create_backbone("glow", shape, levels=2, steps=depth // 2, width=32),
    "glow, safe": lambda depth, shape: create_backbone("glow", shape, levels=2, steps=depth // 2, width=32, norm="affine", **bounded(depth)),
    "irevnet": lambda depth, shape: create_backbone("irevnet", shape, levels=2, blocks=depth // 2, width=32),
    "irevnet, safe": lambda depth, shape: create_backbone("irevnet", shape, levels=2, blocks=depth // 2, width=32, lipschitz=share(depth)),
    "transformer": lambda depth, shape: create_backbone("transformer", shape, couplings=depth, width=32),
    "iresnet": lambda depth, shape: create_backbone("iresnet", shape, levels=2, blocks=depth // 2, width=32),
    "iresnet, safe": lambda depth, shape: create_backbone("iresnet", shape, levels=2, blocks=depth // 2, width=32, gain_budget=100.0),
    "lattice": lambda depth, shape: create_backbone("lattice", shape, **couplings(depth)),
    "published design": lambda depth, shape: published_backbone(shape, couplings=depth, width=16),
}
"""One line for each: how to make it with ``depth`` couplings or blocks. Names before a comma are registered names."""

PENALISED = {"coupling, penalty"}
"""Trained with the Lipschitz penalty; before training they are like the backbone without it, and are left out there."""


@dataclass(frozen=True)
class Settings:
    """What a cell depends on beside backbone, depth and state."""

    data: str
    steps: int
    rank: int
    examples: int
    far_off: int
    searched: int
    search_steps: int
    batch_size: int = 64
    seed: int = 0


def load(folder: Path | None) -> tuple[str, Tensor, Tensor]:
    """Name, training images and test images."""
    name, options = ("digits", {}) if folder is None else ("mnist", {"root": folder})
    splits = create_dataset(name, **options).load()
    return name, stack(splits.train, 20_000)["x"], stack(splits.test, 1_000)["x"]


# --- one cell --------------------------------------------------------------------------------------


def make(name: str, depth: int, state: str, train: Tensor, settings: Settings) -> tuple[Bijection, dict[str, Any]]:
    """The backbone with its weights in ``state``, and facts about how they came about."""
    torch.manual_seed(settings.seed)
    g = BACKBONES[name](depth, tuple(train.shape[1:]))
    facts: dict[str, Any] = {"parameters": sum(parameter.numel() for parameter in g.parameters())}
    g.train()
    with torch.no_grad():
        g(train[: settings.batch_size])  # layers that initialise themselves from data
    if state == "unit gain":
        gains = set_unit_gain(g, train[: settings.batch_size], torch.Generator().manual_seed(settings.seed))
        facts["conditioner_gain"] = {"median": sorted(gains)[len(gains) // 2], "lowest": min(gains), "highest": max(gains)}
    if state == "trained":
        start = time.perf_counter()
        facts |= fit(g, train, settings, LEARNING_RATE if name == "published design" else 1e-3, PENALTY if name in PENALISED else None)
        facts["train_seconds"] = time.perf_counter() - start
    return g.eval().requires_grad_(False), facts


def fit(g: Bijection, train: Tensor, settings: Settings, rate: float, penalty: LipschitzConfig | None) -> dict[str, Any]:
    r"""AdamW with a cosine on :math:`10\,|x - g^{-1}([u + 0.15 e, 0])|^2 + 3 |w|^2 + 0.1\,|\mathrm{cov}(u) - I|^2 / r`, [u, w] = g(x)."""
    generator = torch.Generator().manual_seed(settings.seed)
    parameters = [parameter for parameter in g.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4)
    rank, steps = settings.rank, share_of(g, settings.steps)
    reconstruction = math.nan
    for step in range(steps):
        x = train[torch.randint(0, len(train), (settings.batch_size,), generator=generator)]
        kept, tail = g(x).split([rank, g.dim - rank], 1)
        noisy = kept + 0.15 * torch.randn(kept.shape, generator=generator)
        error = functional.mse_loss(g.inverse(torch.cat([noisy, torch.zeros_like(tail)], 1)), x)
        covariance = (torch.cov(kept.T) - torch.eye(rank)).square().sum() / rank
        loss = 10 * error + 3 * tail.square().mean() + 0.1 * covariance
        if penalty is not None and step % penalty.every == 0:
            loss = loss + penalty.weight * penalty.every * lipschitz_penalty(g, x, generator, penalty)
        if not loss.isfinite():
            return {"steps": step, "reconstruction": reconstruction, "diverged": True}
        reconstruction = float(error.detach())
        optimizer.zero_grad()
        loss.backward()
        if not torch.nn.utils.clip_grad_norm_(parameters, 1.0).isfinite():
            return {"steps": step, "reconstruction": reconstruction, "diverged": True}
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
    return {"steps": steps, "reconstruction": reconstruction, "diverged": False}


def measure(g: Bijection, test: Tensor, settings: Settings) -> dict[str, Any]:
    """All numbers of one cell, by precision."""
    generator = torch.Generator().manual_seed(settings.seed)
    x = test[: share_of(g, settings.examples)]
    inputs = {"data": x, **far_off_inputs(tuple(x.shape[1:]), share_of(g, settings.far_off), generator, reference=x)}
    # Searched for once, in float32.
    start = x[: share_of(g, settings.searched)]
    found = attempt(lambda: {"x": adversarial(g, start, generator=generator, steps=settings.search_steps)})
    if "x" in found:
        inputs["adversarial"] = found["x"]
    measured = {precision: _in_precision(g, inputs, precision) for precision in PRECISIONS}
    if "error" in found:
        for precision in measured.values():
            precision["round_trip"]["adversarial"] = found
    return measured


def _in_precision(g: Bijection, inputs: dict[str, Tensor], precision: str) -> dict[str, Any]:
    if precision == "fp64":
        g, inputs = copy.deepcopy(g).double(), {name: x.double() for name, x in inputs.items()}
    autocast: AbstractContextManager[Any] = torch.autocast("cpu", torch.bfloat16) if precision == "bf16 conditioners" else nullcontext()
    with autocast:
        if g.bit_exact:  # exact on its lattice, which is where the first round trip leads
            with torch.no_grad():
                inputs = {name: g.inverse(g(x)) for name, x in inputs.items()}
        x = inputs["data"]
        return {
            "round_trip": {name: attempt(lambda x=x: asdict(round_trip(g, x))) for name, x in inputs.items()},
            "latents": attempt(lambda: asdict(latent_round_trip(g, _shuffled(g, x)))),
            "logdet": attempt(lambda: asdict(logdet_error(g, x[:LOGDET_EXAMPLES]))) if g.has_logdet else None,
            **({} if precision == "bf16 conditioners" else _all_gains(g, x, inputs["gaussian"])),
            **attempt(lambda: _seconds(g, x[:TIMED_EXAMPLES])),
        }


def share_of(g: Bijection, count: int) -> int:
    """``count``, or what is left of it where the inverse is iterative."""
    return max(2, count // ITERATIVE_SHARE) if g.inverse_kind == "iterative" else count


def attempt(measurement: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What it returns, or the error in words: an inverse that does not converge is a result too."""
    try:
        return measurement()
    except (LinearizerError, RuntimeError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


@torch.no_grad()
def _shuffled(g: Bijection, x: Tensor) -> Tensor:
    """Latents that no image has: each coordinate is that of another image."""
    z = g(x)
    order = torch.rand(z.shape, generator=torch.Generator().manual_seed(0)).argsort(0)
    return z.gather(0, order)


def _all_gains(g: Bijection, x: Tensor, far_off: Tensor) -> dict[str, Any]:
    """Gains are taken outside autocast: with bfloat16 conditioners they would be those of float32."""
    return {name: attempt(lambda few=few[:GAIN_EXAMPLES]: _gains(g, few)) for name, few in (("gain", x), ("far_off_gain", far_off))}


def _gains(g: Bijection, x: Tensor) -> dict[str, float]:
    measured = gain(g, x, iterations=10)
    return {"forward": float(measured.forward.max()), "inverse": float(measured.inverse.max())}


@torch.no_grad()
def _seconds(g: Bijection, x: Tensor) -> dict[str, float]:
    def fastest(function: Callable[[Tensor], Tensor], value: Tensor) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function(value)
            times.append(time.perf_counter() - start)
        return min(times)

    return {"forward_seconds": fastest(g, x), "inverse_seconds": fastest(g.inverse, g(x))}


# --- all cells -------------------------------------------------------------------------------------


def cells(backbones: list[str], depths: list[int], states: list[str]) -> Iterator[tuple[str, int, str]]:
    """Trained ones first, of all backbones at the depth of the target before the next depth."""
    for state in sorted(states, key=STATES.index, reverse=True):
        for depth in sorted(depths, key=lambda depth: (depth != 16, depth)):
            for name in backbones:
                if state == "trained" or name not in PENALISED:
                    yield name, depth, state


def run(settings: Settings, train: Tensor, test: Tensor, *, backbones: list[str], depths: list[int], states: list[str], output: Path) -> list[dict[str, Any]]:
    """Measure every cell that is not there yet, and write the tables."""
    folder = output / "cells"
    folder.mkdir(parents=True, exist_ok=True)
    results = []
    todo = list(cells(backbones, depths, states))
    for number, (name, depth, state) in enumerate(todo, start=1):
        path = folder / f"{settings.data}.{name}.{depth}.{state}.json".replace(", ", "-").replace(" ", "-")
        cell = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if cell.get("settings") != asdict(settings) or "error" in cell:
            start = time.perf_counter()
            cell = {"backbone": name, "depth": depth, "state": state, "settings": asdict(settings), "environment": _environment()}
            try:
                g, facts = make(name, depth, state, train, settings)
                cell |= {**facts, "inverse_kind": g.inverse_kind, "bit_exact": g.bit_exact, "precisions": measure(g, test, settings)}
            except (LinearizerError, RuntimeError) as error:
                cell["error"] = f"{type(error).__name__}: {error}"
            write_json(path, cell)
            print(f"[{number}/{len(todo)}] {name}, depth {depth}, {state}: {time.perf_counter() - start:.0f} s", flush=True)
        results.append(json.loads(path.read_text(encoding="utf-8")))
    write_json(output / "results.json", results)
    write_tables(results, output)
    return results


def _environment() -> dict[str, Any]:
    """Where a cell was measured, and with what code."""
    return {"commit": source_commit(), "torch": torch.__version__, "cpu": cpu_model(), "cores": cores()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", help="folder with MNIST's four idx files; the embedded digits without it")
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=list(BACKBONES))
    parser.add_argument("--depths", nargs="+", type=int, default=[4, 8, 16, 32])
    parser.add_argument("--states", nargs="+", choices=STATES, default=list(STATES))
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--output", type=Path, default=Path("runs/invertibility"))
    arguments = parser.parse_args()
    name, train, test = load(arguments.data)
    settings = Settings(data=name, steps=arguments.steps, rank=32 if train[0].numel() > 64 else 16, examples=256, far_off=64, searched=16, search_steps=10)
    run(settings, train, test, backbones=arguments.backbones, depths=arguments.depths, states=arguments.states, output=arguments.output)


if __name__ == "__main__":
    main()
