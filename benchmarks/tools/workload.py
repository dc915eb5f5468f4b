"""The workload of `benchmarks.revisions`: a script that runs against any revision of the code, so it uses only what all of them have.

Prints one line of JSON: where the code is, and the median seconds of each part.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import linearizer_core
from linearizer_core.config import TrainingConfig
from linearizer_core.config_file import load_config
from linearizer_core.cores import TimeDependentCore
from linearizer_core.data import DataInfo, Splits, TensorTable
from linearizer_core.factory import build_model, create_core
from linearizer_core.testing.perturb import perturb
from linearizer_core.training import fit

SMALL = ['backbone={name="coupling", levels=[{couplings=2, width=8}], dense={couplings=2, width=16}}', "core.rank=4"]


def median_seconds(call: Callable[[], object], *, least: float) -> float:
    """The median of as many calls as fit into ``least`` seconds, three at least."""
    call()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < least:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def sampling_and_training(*, quick: bool) -> dict[str, float]:
    """Seconds of a sample of batch 1 and 64, and of a step of the training loop."""
    shape, steps = ((1, 8, 8), 3) if quick else ((1, 28, 28), 20)
    overrides = ["data.root=unused", f"task.latent_prior.reconstruction.steps={steps}", "task.latent_prior.prior.steps=1", *(SMALL if quick else [])]
    config = load_config(Path("configs") / "flow_mnist.toml", overrides)
    generator = torch.Generator().manual_seed(0)
    images = TensorTable(x=torch.rand(512, *shape, generator=generator), label=torch.randint(10, (512,), generator=generator))
    splits = Splits(DataInfo(name="noise", shape=shape, classes=10), images, images, images)
    task, model = build_model(config.model, splits.info, 0)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(task, model, splits, TrainingConfig(output=Path(folder), mixed_precision="bf16"))
    found = {"training, a step with its share of starting and saving": result.seconds["reconstruction"] / steps}
    perturb(model)
    model.eval().requires_grad_(False)
    operator = task.collapsed(model)
    for batch in (1, 64):
        found[f"sampling, batch {batch}"] = median_seconds(lambda batch=batch: task.sample(model, batch, generator, operator=operator), least=0 if quick else 2)
    return found


def collapse(*, quick: bool) -> dict[str, float]:
    """Seconds of the collapse of 99 RK4 steps by both learned cores."""
    found = {}
    for name, dim in (("shared_subspace", 64 if quick else 3072), ("low_rank", 64 if quick else 1024)):
        torch.manual_seed(0)
        core = create_core(name, (dim, dim), rank=4 if quick else 16)
        assert isinstance(core, TimeDependentCore)
        perturb(core)
        grid = torch.arange(10 if quick else 100, dtype=torch.float64) / (10 if quick else 100)
        found[f"collapse, {name}, D = {dim}"] = median_seconds(lambda core=core, grid=grid: core.propagator(grid, "rk4"), least=0 if quick else 2)
    return found


def main() -> None:
    quick = "--quick" in sys.argv
    found = {**sampling_and_training(quick=quick), **collapse(quick=quick)}
    print(json.dumps({"code": linearizer_core.__file__, "seconds": found}))


if __name__ == "__main__":
    main()
