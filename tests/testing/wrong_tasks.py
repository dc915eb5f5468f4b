"""For each check of a task one that is wrong in just that respect."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from linearizer_core.config import Component, StageConfig
from linearizer_core.data import Batch, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import BuildContext, Report, Stage, Task
from linearizer_core.testing import TaskSubject


class Likelihood(Stage):
    def __init__(self, name: str = "likelihood") -> None:
        super().__init__(name, StageConfig(steps=1, batch_size=8))

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.gx.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        noise = torch.randn(batch["x"].shape, generator=generator)
        z, logdet = model.gx.forward_and_logdet(batch["x"] + 0.1 * noise)
        return {"loss": (z.square().sum(1) / 2 - logdet).mean()}


class Small(Task):
    """Right: the density of the data, projected samples of it."""

    def build(self, context: BuildContext) -> LinearizerModel:
        backbone = context.backbone(context.info.shape, None)
        return LinearizerModel(backbone, context.core((backbone.dim, backbone.dim), None))

    def stages(self) -> Sequence[Stage]:
        return [Likelihood()]

    def collapsed(self, model: LinearizerModel) -> LinearOperator:
        return model.core.operator()

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        if options:
            raise ConfigError("there are no options")
        noise = torch.randn(n, model.gx.dim, generator=generator)
        return model.gx.inverse((operator or model.core.operator())(noise))

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        (folder / "picture.png").write_bytes(b"a picture")
        z = model.gx(stack(splits.test)["x"])
        return Report({"mean": float(z.mean())}, ("picture.png",))


class DrawsItsOwnWeights(Small):
    def build(self, context: BuildContext) -> LinearizerModel:
        model = super().build(context)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(random.random())
        return model


class TwoOfOneName(Small):
    def stages(self) -> Sequence[Stage]:
        return [Likelihood(), Likelihood()]


class _NoisyData(Likelihood):
    def dataset(self, model: LinearizerModel, splits: Splits) -> Dataset[Batch]:
        x = stack(splits.train)["x"]
        return TensorTable(x=x + 0.1 * torch.randn_like(x))


class NoisyData(Small):
    def stages(self) -> Sequence[Stage]:
        return [_NoisyData()]


class _TrainsTheCore(Likelihood):
    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.parameters()


class TrainsWhatItDoesNotUse(Small):
    def stages(self) -> Sequence[Stage]:
        return [_TrainsTheCore()]


class _GlobalNoise(Likelihood):
    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return super().loss(model, {"x": batch["x"] + 0.1 * torch.randn_like(batch["x"])}, generator)


class GlobalNoise(Small):
    def stages(self) -> Sequence[Stage]:
        return [_GlobalNoise()]


class AnyOption(Small):
    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        return super().sample(model, n, generator, operator=operator)


class OtherOperator(Small):
    def collapsed(self, model: LinearizerModel) -> LinearOperator:
        return 2 * model.core.operator()


class NoFigure(Small):
    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        return Report(super().evaluate(model, splits, folder).metrics, ("samples.png",))


class UnsavedState(Small):
    def build(self, context: BuildContext) -> LinearizerModel:
        model = super().build(context)
        model.factor = float(torch.rand(()))
        return model

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        return super().sample(model, n, generator, options, operator=operator) * model.factor  # type: ignore[operator]


def subject(make: Any) -> TaskSubject:
    backbone = Component(name="coupling", levels=[], dense={"couplings": 2, "width": 8})
    return TaskSubject(make, backbone=backbone, core=Component(name="projector"))


RIGHT = subject(Small)

WRONG = {
    "build": subject(DrawsItsOwnWeights),
    "stages": subject(TwoOfOneName),
    "stage-data": subject(NoisyData),
    "loss": subject(TrainsWhatItDoesNotUse),
    "loss-deterministic": subject(GlobalNoise),
    "sample": subject(AnyOption),
    "collapsed": subject(OtherOperator),
    "evaluate": subject(NoFigure),
    "save-and-load": subject(UnsavedState),
}

ALSO: dict[str, set[str]] = {}


class _TensorMetric(Small):
    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        return Report({"mean": torch.zeros(())})


class _TrainsInEvaluation(Small):
    @torch.no_grad()
    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        for parameter in model.parameters():
            parameter.zero_()
        return Report({"mean": 0.0})


class _AlwaysTheSame(Small):
    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        return super().sample(model, n, torch.Generator().manual_seed(0), options, operator=operator)


class _Picky(Small):
    def build(self, context: BuildContext) -> LinearizerModel:
        raise ConfigError("it needs another core")


MORE = [
    ("build", subject(_Picky), "build raises for each of 1 combinations of backbone and core, such as coupling and projector: it needs another core"),
    ("evaluate", subject(_TensorMetric), "the metrics are no JSON values"),
    ("evaluate", subject(_TrainsInEvaluation), "evaluating changes"),
    ("sample", subject(_AlwaysTheSame), "the same for another seed"),
]
