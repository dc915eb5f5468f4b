"""A real but tiny task on two-dimensional data, shared by the tests; as a script, one `fit` of it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.bijections import ActNorm, AffineCoupling, Chain, MLPConditioner, TractableBijection
from linearizer_core.condition import Condition
from linearizer_core.config import StageConfig, TrainingConfig
from linearizer_core.cores import CoreOperator
from linearizer_core.data import Batch, DataInfo, Splits, TensorTable, stack
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, ScaledIdentity
from linearizer_core.task import BuildContext, Report, Stage, Task
from linearizer_core.training.loop import FitResult, fit


class Center(TractableBijection):
    """``z = x - center``, the centre being fitted by a stage."""

    def __init__(self) -> None:
        super().__init__((2,))
        self.register_buffer("center", torch.zeros(2))

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return x - self.get_buffer("center"), x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return z + self.get_buffer("center"), z.new_zeros(len(z))


class UnitCore(CoreOperator):
    """The identity of the plane; nothing here trains."""

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return ScaledIdentity(1.0, 2)


class LikelihoodStage(Stage):
    """Maximum likelihood under a standard Gaussian, with noise on the data."""

    noise = 0.05

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return model.gx.parameters()

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        x = batch["x"]
        noise = torch.randn(x.shape, generator=generator, device=x.device) if self.noise else 0.0
        z, logdet = model.gx.forward_and_logdet(x + self.noise * noise)
        energy = 0.5 * z.square().sum(1).mean()
        return {"loss": energy - logdet.mean(), "energy": energy}


class SilentStage(LikelihoodStage):
    noise = 0.0


class FittedStage(LikelihoodStage):
    """Fits the centre at its beginning, and trains on data computed from the model's frozen part."""

    begun = 0

    def parameters(self, model: LinearizerModel) -> Iterable[nn.Parameter]:
        return [parameter for name, parameter in model.gx.named_parameters() if "conditioner" in name]

    def begin(self, model: LinearizerModel, splits: Splits) -> None:
        FittedStage.begun += 1
        data = splits.train
        assert isinstance(data, TensorTable)
        _center(model).copy_(data.tensors["x"].mean(0))

    def dataset(self, model: LinearizerModel, splits: Splits) -> TensorTable:
        data = splits.train
        assert isinstance(data, TensorTable)
        return TensorTable(x=data.tensors["x"] + 0.1 * _center(model))


class PoisonedStage(LikelihoodStage):
    """The loss becomes NaN at one step."""

    bad_call = 0
    calls = 0

    def loss(self, model: LinearizerModel, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        self.calls += 1
        values = super().loss(model, batch, generator)
        return {**values, "loss": values["loss"] * float("nan")} if self.calls == self.bad_call else values


class TinyTask(Task):
    """The stages given to it."""

    def __init__(self, *stages: Stage) -> None:
        self._stages = stages
        self.sampled: list[Tensor] = []

    def build(self, context: BuildContext) -> LinearizerModel:
        return tiny_model()

    def stages(self) -> Sequence[Stage]:
        return self._stages

    def sample(
        self,
        model: LinearizerModel,
        n: int,
        generator: torch.Generator,
        options: Mapping[str, Any] | None = None,
        *,
        operator: LinearOperator | None = None,
    ) -> Tensor:
        self.sampled.append(next(model.gx.parameters()).detach().clone())
        torch.randn(5)  # a careless task: the global random state must survive it
        return model.gx.inverse(torch.randn(n, 2, generator=generator)).repeat_interleave(8, 1).reshape(n, 1, 4, 4)

    def evaluate(self, model: LinearizerModel, splits: Splits, folder: Path, *, operator: LinearOperator | None = None) -> Report:
        return Report({"center": _center(model).tolist(), "worst": float("inf")})


def _center(model: LinearizerModel) -> Tensor:
    return next(buffer for name, buffer in model.named_buffers() if name.endswith("center"))


def tiny_model(seed: int = 0) -> LinearizerModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        bijection = Chain(
            Center(),
            ActNorm((2,)),
            AffineCoupling((2,), MLPConditioner(1, 2, width=16)),
            AffineCoupling((2,), MLPConditioner(1, 2, width=16), flip=True),
        )
        return LinearizerModel(bijection, UnitCore((2, 2)))


def tiny_splits(examples: int = 100, shape: tuple[int, ...] = (2,)) -> Splits:
    generator = torch.Generator().manual_seed(1)
    angle = 3.0 * torch.rand(examples, generator=generator)
    x = torch.stack([angle.cos(), angle.sin()], 1) + 0.1 * torch.randn(examples, 2, generator=generator) + 2.0
    table = TensorTable(x=x)
    return Splits(DataInfo(name="arc", shape=shape), table, table, table)


def stage_config(**values: Any) -> StageConfig:
    return StageConfig.model_validate({"steps": 6, "batch_size": 16, "optimizer": {"lr": 1e-2}, **values})


def two_stages(steps: int = 6) -> TinyTask:
    """Different optimisers, an average, clipping and a fit between the stages."""
    first = LikelihoodStage("rough", stage_config(steps=steps, ema=0.9, warmup_steps=3))
    second = FittedStage("fine", stage_config(steps=steps, ema=0.5, clip_norm=0.5, optimizer={"name": "adam", "lr": 1e-2}))
    return TinyTask(first, second)


def training_config(output: Path, **values: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"output": output, "log_every": 1, "checkpoint_every": 1000, "keep_checkpoints": 3, **values})


def run_tiny(output: Path, task: TinyTask, **values: Any) -> tuple[LinearizerModel, FitResult]:
    model = tiny_model()
    return model, fit(task, model, tiny_splits(), training_config(output, **values))


def run_split(output: Path, name: str, **values: Any) -> FitResult:
    """One fit for comparing ways to split a batch, in float64: Adam turns rounding errors of vanishing gradients into whole steps.

    ``name`` is "silent" or "noise"; with noise, ActNorm is initialised beforehand from all data, not from a micro-batch that depends on the split.
    """
    stage = {"silent": SilentStage, "noise": LikelihoodStage}[name]
    model, table = tiny_model().double(), TensorTable(x=stack(tiny_splits().train)["x"].double())
    if name == "noise":
        model.gx(stack(table)["x"])
    task = TinyTask(stage("one", stage_config(ema=0.9, clip_norm=1.0)), stage("two", stage_config()))
    return fit(task, model, Splits(DataInfo(name="arc", shape=(2,)), table, table, table), training_config(output / name, **values))


def main() -> None:
    """``OUTPUT kill`` trains long with many checkpoints; ``OUTPUT split`` trains with and without noise, on several processes."""
    torch.set_num_threads(1)
    output = Path(sys.argv[1])
    if sys.argv[2] == "kill":
        run_tiny(output, two_stages(60), checkpoint_every=3, keep_checkpoints=2, log_every=7)
    else:
        for name in ("noise", "silent"):
            run_split(output, name)
        run_split(output / "reversible", "silent", reversible={"anchor_every": 2, "check_every": 1, "tolerance": 1e-9})
        assert run_split(output, "silent").resumed_from == 12
        (output / "processes").write_text(str(torch.distributed.get_world_size()))
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
