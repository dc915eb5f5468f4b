"""Linearizers as contenders: any task that draws images, trained by the ordinary loop."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import Subset

from benchmarks.clocked_stage import ClockedStage, OneStage
from benchmarks.dense_collapse import unnested_loop
from benchmarks.evidence.contender import TIMED, Contender, Cost, Draw, seconds
from linearizer_core.condition import Condition
from linearizer_core.config import TrainingConfig
from linearizer_core.cores import TimeDependentCore
from linearizer_core.data import Splits, stack
from linearizer_core.metrics import max_abs_error, psnr
from linearizer_core.model import LinearizerModel
from linearizer_core.operators.flow import time_grid
from linearizer_core.task import Task
from linearizer_core.training import fit

LOOP = 100
"""Steps of the loop that a collapsed operator is compared with, as published."""
ONE_STEP = "one step"
_EXAMPLES, _LOG, _LEAST = 500, 50, 2048


@final
class LinearizerContender(Contender):
    """A task and its untrained model.

    Arguments:
        task: its samples take the options ``label`` and ``temperature``.
        model: untrained; the same seed must give the same weights.
        seed: of the order of the data and of all noise.
        classes: labels that samples may be asked for; 0 for a model that takes none.
        precision: of the conditioners in training, ``no`` or ``bf16``.
    """

    def __init__(self, task: Task, model: LinearizerModel, *, seed: int, classes: int, precision: str = "bf16") -> None:
        self.task = task
        self.model = model
        self._seed = seed
        self._classes = classes
        self._precision = precision

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    def cost(self, splits: Splits, window: int) -> dict[str, Cost]:
        count = min(len(splits.train), max(_LEAST, 2 * max(stage.config.batch_size for stage in self.task.stages())))  # type: ignore[arg-type]
        few, part = replace(splits, train=Subset(splits.train, range(count))), count / len(splits.train)  # type: ignore[arg-type]
        costs = {}
        for stage in self.task.stages():
            began = time.perf_counter()
            stage.begin(self.model, few)
            stage.dataset(self.model, few)
            start = (time.perf_counter() - began) / part
            clocked = ClockedStage(stage, window=window, rehearsals=1, device="cpu")
            with TemporaryDirectory() as folder:
                fit(OneStage(self.task, clocked), self.model, few, self._training(Path(folder)))
            costs[stage.name] = Cost(clocked.seconds, start)
        return costs

    def train(self, splits: Splits, folder: Path) -> dict[str, float]:
        spent = fit(self.task, self.model, splits, self._training(folder)).seconds
        self.model.eval().requires_grad_(False)
        return spent

    def _training(self, folder: Path) -> TrainingConfig:
        threads = torch.get_num_threads()
        values = {"output": folder, "seed": self._seed, "mixed_precision": self._precision, "threads": threads, "log_every": _LOG, "checkpoint_every": 500}
        return TrainingConfig.model_validate(values)

    def ways(self) -> dict[str, int]:
        return {ONE_STEP: 1}

    def draw(self, way: str, count: int, *, temperature: float = 1.0, seed: int = 0) -> Draw:
        generator, operator = torch.Generator().manual_seed(seed), self.task.collapsed(self.model)
        if not self._classes:
            return Draw(self.task.sample(self.model, count, generator, {"temperature": temperature}, operator=operator))
        labels = torch.arange(count) % self._classes
        images = torch.empty(count, *self.model.gy.in_shape)
        for label in range(self._classes):
            rows = labels == label
            images[rows] = self.task.sample(self.model, int(rows.sum()), generator, {"temperature": temperature, "label": label}, operator=operator)
        return Draw(images, labels)

    @torch.no_grad()
    def examine(self, splits: Splits) -> dict[str, Any]:
        test = {name: values[:_EXAMPLES] for name, values in stack(splits.test, _EXAMPLES).items()}
        condition = self.task.condition(self.model, test)
        space = self.model.codomain(condition)
        found: dict[str, Any] = {"round_trip": max_abs_error(space.from_latent(space.to_latent(test["x"])), test["x"])}
        operator, core = self.task.collapsed(self.model), self.task.core(self.model)
        assert operator is not None
        if not isinstance(core, TimeDependentCore):
            one_of_a_label = partial(self.task.sample, self.model, TIMED, torch.Generator(), {"label": 0}, operator=operator)
            return {**found, "sampling_seconds": {ONE_STEP: seconds(one_of_a_label)}, **self.task.evaluate(self.model, splits, Path()).metrics}
        back = self.model.linearizer(operator, condition)
        return {**found, **self._against_the_loop(core), "inversion_psnr_db": psnr(back(back.pinv()(test["x"])).clamp(0, 1), test["x"])}

    def _against_the_loop(self, core: TimeDependentCore) -> dict[str, Any]:
        """PSNR in dB of collapsed RK4 steps against their loop, same noise: with the stages nested, as ours are, and as published."""
        generator = torch.Generator().manual_seed(self._seed)
        noise = torch.randn(TIMED, *self.model.gx.in_shape, generator=generator)
        rows = {name: torch.arange(TIMED) % (self._classes or count) for name, count in self.model.gy.conditions.items()}
        condition, grid = Condition(**rows) if rows else None, time_grid(LOOP)
        start, space = self.model.domain().to_latent(noise), self.model.codomain(condition)
        one_step = core.propagator(grid, "rk4").to(noise.dtype)

        def image(latent: Tensor) -> Tensor:
            return space.from_latent(latent).clamp(0, 1)

        loop = image(core.integrate(start, grid, "rk4"))
        return {
            "one_step_vs_loop_psnr_db": psnr(image(one_step(start)), loop),
            "published_collapse_vs_loop_psnr_db": psnr(image(unnested_loop(core.at, start, grid.tolist())), loop),
            "sampling_seconds": {
                ONE_STEP: seconds(lambda: image(one_step(self.model.domain().to_latent(noise)))),
                f"loop of {LOOP} steps": seconds(lambda: image(core.integrate(self.model.domain().to_latent(noise), grid, "rk4"))),
            },
        }
