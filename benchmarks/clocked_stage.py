"""A stage that notes when its steps begin: how any training loop is timed from inside, without what it does before the first and after the last step."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.tools.timing import synchronize
from linearizer_core.config import StageConfig
from linearizer_core.data import Batch, Splits
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task

WARM_UP = 2
"""Losses taken before the clock starts: our loop takes one to rehearse, and the first step allocates the state of the optimiser."""


@final
class ClockedStage(Stage):
    """The stage ``inner`` for ``window`` timed steps. `seconds` is that of one step, from the begin of one to the begin of another."""

    def __init__(self, inner: Stage, *, window: int, rehearsals: int, device: str) -> None:
        skipped = rehearsals + WARM_UP
        super().__init__(inner.name, inner.config.model_copy(update={"steps": WARM_UP + window + 1}))
        self.inner = inner
        self.config: StageConfig
        self._marks = {skipped: 0.0, skipped + window: 0.0}
        self._window = window
        self._calls = 0
        self._device = device

    @property
    def seconds(self) -> float:
        start, stop = self._marks.values()
        return (stop - start) / self._window

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return self.inner.parameters(model)

    def begin(self, model: LinearizerModel, splits: Splits) -> None:
        self.inner.begin(model, splits)

    def dataset(self, model: LinearizerModel, splits: Splits) -> Dataset[Batch]:
        return self.inner.dataset(model, splits)

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        if self._calls in self._marks:
            synchronize(self._device)
            self._marks[self._calls] = time.perf_counter()
        self._calls += 1
        return self.inner.loss(model, batch, generator)


@final
class OneStage(Task):
    """A task with one stage of another's, put in its place."""

    def __init__(self, inner: Task, stage: Stage) -> None:
        self.inner = inner
        self.stage = stage

    def build(self, context: BuildContext) -> LinearizerModel:
        return self.inner.build(context)

    def stages(self) -> Sequence[Stage]:
        return (self.stage,)

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        return self.inner.sample(model, n, generator, options, operator=operator)

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        return self.inner.evaluate(model, splits, folder, operator=operator)
