"""A normalizing flow trained by likelihood, as a contender: a linearizer whose operator is the identity."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from benchmarks.likelihood import bits
from linearizer_core.bijections import Identity
from linearizer_core.condition import Condition
from linearizer_core.config import StageConfig
from linearizer_core.cores import CoreOperator
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, ScaledIdentity
from linearizer_core.task import BuildContext, Report, Stage, Task


@final
class LikelihoodTask(Task):
    """Minimises bits per dimension of dequantised images under their labels; a sample is one inverse pass."""

    def __init__(self, config: StageConfig) -> None:
        self._config = config

    def build(self, context: BuildContext) -> LinearizerModel:
        flow = context.backbone(context.info.shape, {"label": context.info.classes})
        return LinearizerModel(Identity((flow.dim,)), context.core((flow.dim, flow.dim), None), flow)

    def stages(self) -> Sequence[Stage]:
        return (_LikelihoodStage(self._config),)

    def collapsed(self, model: LinearizerModel) -> LinearOperator:
        return model.core.operator()

    @torch.no_grad()
    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        chosen = {"temperature": 1.0, **(options or {})}
        noise = chosen["temperature"] * torch.randn(n, model.gx.dim, generator=generator)
        return torch.cat([model.gy.inverse(z, Condition(label=torch.full((len(z),), chosen["label"]))) for z in noise.split(500)])

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        test, generator = stack(splits.test), torch.Generator().manual_seed(0)
        parts = zip(test["x"].split(500), test["label"].split(500), strict=True)
        return Report({"bits_per_dimension": float(torch.cat([bits(model.gy, x, label, generator) for x, label in parts]).mean())})


@final
class _LikelihoodStage(Stage):
    def __init__(self, config: StageConfig) -> None:
        super().__init__("likelihood", config)

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.gy.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return {"loss": bits(model.gy, batch["x"], batch["label"], generator).mean()}


@final
class IdentityCore(CoreOperator):
    """A = I."""

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return ScaledIdentity(1.0, self.shape[0])
