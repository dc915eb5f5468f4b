"""A flow-matching U-Net as a contender: the field's usual way, which needs a pass through the network for every step of the solver."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from benchmarks.evidence.contender import TIMED, Contender, Cost, Draw, seconds
from benchmarks.unet import euler, matching_unet, velocity
from linearizer_core.config import StageConfig
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.files import write_json
from linearizer_core.training.average import WeightAverage
from linearizer_core.training.optimizer import make_optimizer
from linearizer_core.training.schedule import learning_rate

EVALUATIONS = (1, 10, 100)
STAGE = "matching"
_CHUNK = 250


@final
class MatchingContender(Contender):
    r"""Minimises :math:`|v_\theta(x_t, t, y) - (x_1 - x_0)|^2` with :math:`x_t = (1 - t) x_0 + t x_1`, t uniform (Lipman et al., arXiv 2210.02747).

    Arguments:
        config: steps, batch, optimiser, schedule and average.
        shape: of the images, ``(C, H, W)``; pixels are scaled to [-1, 1].
        parameters: of the U-Net, about.
        classes: labels that it takes.
        seed: of weights, data order and noise.
    """

    def __init__(self, config: StageConfig, shape: tuple[int, int, int], parameters: int, classes: int, *, seed: int) -> None:
        self._config = config
        self._shape = shape
        self._classes = classes
        self._seed = seed
        self._unet = matching_unet(shape, parameters, classes=classes, seed=seed)

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self._unet.parameters())

    def cost(self, splits: Splits, window: int) -> dict[str, Cost]:
        steps = self._steps(stack(splits.train, 4 * self._config.batch_size))
        for _ in range(2):
            next(steps)
        began = time.perf_counter()
        for _ in range(window):
            next(steps)
        return {STAGE: Cost((time.perf_counter() - began) / window)}

    def train(self, splits: Splits, folder: Path) -> dict[str, float]:
        weights, record = folder / "unet.safetensors", folder / "seconds.json"
        if not record.exists():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.perf_counter()
            for _ in self._steps(stack(splits.train)):
                pass
            spent = {STAGE: time.perf_counter() - began}
            save_file(self._unet.state_dict(), weights)
            write_json(record, spent)
        self._unet.load_state_dict(load_file(weights))
        self._unet.eval().requires_grad_(False)
        found: dict[str, float] = json.loads(record.read_text(encoding="utf-8"))
        return found

    def _steps(self, data: Batch) -> Iterator[None]:
        """Train, and hand over after each step; the averaged weights are in place after the last."""
        config, generator = self._config, torch.Generator().manual_seed(self._seed)
        self._unet.train().requires_grad_(True)
        parameters = dict(self._unet.named_parameters())
        optimizer = make_optimizer(parameters.values(), config.optimizer)
        average = WeightAverage(parameters, ema=config.ema or 0.0, warmup=config.ema_warmup)
        for step in range(config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            rows = torch.randint(len(data["x"]), (config.batch_size,), generator=generator)
            optimizer.zero_grad()
            # In float32: with autocast, a step of this network takes half as long again on a processor.
            self._loss(data["x"][rows], data["label"][rows], generator).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters.values(), config.clip_norm or float("inf"))
            optimizer.step()
            average.update(step)
            yield
        average.copy_to_parameters()

    def _loss(self, x: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
        start, end = torch.randn(x.shape, generator=generator), 2 * x - 1
        t = torch.rand(len(x), generator=generator)
        part = t[:, None, None, None]
        return functional.mse_loss(velocity(self._unet, t, (1 - part) * start + part * end, label), end - start)

    def ways(self) -> dict[str, int]:
        return {f"{evaluations} evaluation{'s' if evaluations > 1 else ''}": evaluations for evaluations in EVALUATIONS}

    def draw(self, way: str, count: int, *, temperature: float = 1.0, seed: int = 0) -> Draw:
        labels = torch.arange(count) % self._classes
        noise = temperature * torch.randn(count, *self._shape, generator=torch.Generator().manual_seed(seed))
        with torch.autocast("cpu", dtype=torch.bfloat16):  # faster than float32 where there are no gradients
            parts = [euler(self._unet, z, self.ways()[way], y) for z, y in zip(torch.split(noise, _CHUNK), torch.split(labels, _CHUNK), strict=True)]
        return Draw((torch.cat(parts).float() + 1) / 2, labels)

    def examine(self, splits: Splits) -> dict[str, Any]:
        return {"sampling_seconds": {way: seconds(partial(self.draw, way, TIMED)) for way in self.ways()}}
