"""For each check of a core one that is wrong in just that respect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition, require_label
from linearizer_core.cores import CoreOperator, GeneratorCore, TimeDependentCore
from linearizer_core.errors import ConditionError
from linearizer_core.operators import Dense, Diagonal, LinearOperator, ScaledIdentity
from linearizer_core.operators.flow import velocity_operator
from linearizer_core.testing import CoreSubject

from .wrong_operators import WrongExponential


class Matrix(CoreOperator):
    """Right: a dense matrix, one for each label where there are labels."""

    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape, conditions=conditions)
        self.weight = nn.Parameter(torch.eye(*shape).repeat(self.conditions.get("label", 1), 1, 1))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Dense(self.weight[int(require_label(condition, "label", self.conditions["label"], 1)) if self.conditions else 0])


class OtherShape(Matrix):
    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        super().__init__((shape[0] + 1, shape[1]), conditions)


class OtherOperator(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        made = super().operator(condition)
        return made.T @ made


class LawlessOperator(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return WrongExponential(super().operator(condition).to_dense())


class AlwaysFloat64(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return super().operator(condition).to(torch.float64)


class Detached(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Dense(super().operator(condition).to_dense().detach() + 0 * self.weight.sum())


class UnsavedState(Matrix):
    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape, conditions)
        self.factor = float(torch.rand(()))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return self.factor * super().operator(condition)


class TrainingDiffers(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return (0.5 if self.training else 1.0) * super().operator(condition)


class IgnoresItsCondition(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        if self.conditions and (condition is None or "label" not in condition):
            raise ConditionError("give a label")
        return Dense(self.weight.mean(0))


class Decay(TimeDependentCore):
    """Right: ``A_t = W (1 + t)``."""

    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape[0])
        self.weight = nn.Parameter(0.5 * torch.eye(*shape))

    def at(self, t: float) -> LinearOperator:
        return Dense(self.weight * (1 + t))

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return (1 + t)[:, None] * (z @ self.weight.mT)


class OtherPrediction(Decay):
    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return (1 + t.square())[:, None] * (z @ self.weight.mT)


class OtherTimes(Decay):
    def at_times(self, times: Tensor) -> Sequence[LinearOperator]:
        return [self.at(t) for t in times.sort(descending=True).values.tolist()]

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        return [velocity_operator(self.at(t), t) for t in times.tolist()]


class OtherVelocity(Decay):
    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        return [1.1 * operator for operator in super().velocities(times)]


class LosesAStep(Decay):
    def propagator(self, grid: Tensor, solver: str = "euler", **options: Any) -> LinearOperator:
        self.check_flow(grid, solver)
        return super().propagator(torch.cat([grid[:1], grid[2:]]) if len(grid) > 2 else grid, solver, **options)


class AnyGrid(Decay):
    def check_flow(self, grid: Tensor, solver: str) -> list[float]:
        return [float(t) for t in grid]


class NoTerminalError(Decay):
    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        one = ScaledIdentity(1.0, self.dim, dtype=self.weight.dtype)
        return [velocity_operator(self.at(t), t) if t < 1 else (self.at(t) - one) * float("inf") for t in times.tolist()]


class FalseRank(Decay):
    leading_rank = 2


class NoFlow(GeneratorCore):
    """The generator depends on z through its length, which changes along the flow."""

    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape[0])
        self.rates = nn.Parameter(torch.ones(shape[0]))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Diagonal(self.rates)

    def generator_at(self, z: Tensor) -> LinearOperator:
        return Diagonal(self.rates * z.norm())

    def evolve(self, z: Tensor, t: float | Tensor) -> Tensor:
        return (torch.as_tensor(t)[..., None] * self.rates * z.norm(dim=-1, keepdim=True)).exp() * z


def subject(make: Any, **options: Any) -> CoreSubject:
    return CoreSubject(make, shapes=[(4, 4)], **options)


RIGHT = subject(Matrix)

WRONG = {
    "construction": subject(OtherShape),
    "operator-shape": CoreSubject(OtherOperator, shapes=[(3, 4)]),
    "operator-laws": subject(LawlessOperator),
    "dtype": subject(AlwaysFloat64),
    "gradients": subject(Detached),
    "state-dict": subject(UnsavedState),
    "modes-agree": subject(TrainingDiffers),
    "conditions-used": subject(IgnoresItsCondition),
    "flow": subject(NoFlow),
    "predict-matches-at": subject(OtherPrediction),
    "at-times": subject(OtherTimes),
    "velocity": subject(OtherVelocity),
    "collapse": subject(LosesAStep),
    "grids": subject(AnyGrid),
    "terminal": subject(NoTerminalError),
    "leading-rank": subject(FalseRank),
}

ALSO: dict[str, set[str]] = {}

MORE = [
    ("flow", subject(lambda shape, conditions: _OtherEvolution(shape)), "is not the exponential of generator_at"),
    ("predict-matches-at", subject(lambda shape, conditions: _FirstLabelForAll(shape, conditions)), "under conditions predict.z, t. is not at.t..z."),
    ("conditions-used", subject(lambda shape, conditions: _Optional(shape, conditions)), "declares conditions .label., but works without"),
    ("gradients", subject(lambda shape, conditions: _NoGraph(shape)), "no gradient reaches any parameter"),
]


class _FirstLabelForAll(Decay):
    """Right, but for `predict`, which takes the label of the first example for all."""

    def __init__(self, shape: tuple[int, int], conditions: dict[str, int] | None = None) -> None:
        TimeDependentCore.__init__(self, shape[0], conditions=conditions)
        self.weight = nn.Parameter(0.5 * torch.eye(*shape).expand(max(self.conditions.values(), default=1), -1, -1).clone())

    def _labels(self, batch: int) -> Tensor:
        return require_label(self.condition, "label", self.conditions["label"], batch) if self.conditions else torch.zeros(batch, dtype=torch.int64)

    def at(self, t: float) -> LinearOperator:
        return Dense(self.weight[self._labels(1)][0] * (1 + t))

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        return (1 + t)[:, None] * (z @ self.weight[self._labels(len(z))][0].mT)


class _Optional(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return super().operator(condition or Condition(label=torch.zeros(1, dtype=torch.int64)))


class _NoGraph(Matrix):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Dense(self.weight[0].detach())


class _OtherEvolution(NoFlow):
    def generator_at(self, z: Tensor) -> LinearOperator:
        return self.operator()
