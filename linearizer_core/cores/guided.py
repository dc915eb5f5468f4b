"""Guidance: a core between two others, and beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from linearizer_core.cores.base import TimeDependentCore
from linearizer_core.errors import ShapeMismatchError
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import SOLVERS, Flow, Terminal, guided
from linearizer_core.operators.flow.guidance import can_be_guided


@final
class GuidedCore(TimeDependentCore):
    r"""The core :math:`A_t = A^{(0)}_t + w (A^{(1)}_t - A^{(0)}_t)`: the first for w = 0, the second for w = 1, more than the second beyond.

    The velocity is affine in A_t, so mixing operators is mixing velocities: this is classifier-free guidance (Ho and Salimans, arXiv 2207.12598) where
    the first core is without a label and the second with one. It collapses like any core, into one operator, which is not a mixture of the two collapsed ones.

    Arguments:
        first: usually without a condition.
        second: usually the same core, given one.
        weight: w, any number.

    Raises:
        ShapeMismatchError: for cores of different dimensions.

    Example:
        >>> from linearizer_core import Condition, create_core
        >>> core = create_core("shared_subspace", (8, 8), conditions={"label": 10}, rank=3)
        >>> nothing, three = (core.given(Condition(label=torch.tensor([label]))) for label in (9, 3))
        >>> GuidedCore(nothing, three, 2.0).one_step().rank()
        3
    """

    def __init__(self, first: TimeDependentCore, second: TimeDependentCore, weight: float) -> None:
        if first.dim != second.dim:
            raise ShapeMismatchError(f"GuidedCore: the cores have {first.dim} and {second.dim} dimensions, expected as many of one as of the other")
        super().__init__(first.dim)
        self.first = first
        self.second = second
        self.weight = weight
        # What one alone knows in closed form, the mixture does not.
        self.solvers = tuple(SOLVERS)  # type: ignore[misc]
        shared = tuple(rule for rule in first.terminals if rule in second.terminals)
        self.terminals = tuple(rule for rule in shared if can_be_guided(first.flow(rule), second.flow(rule)))  # type: ignore[misc]
        self.default_terminal = first.default_terminal if first.default_terminal in self.terminals else "early"  # type: ignore[misc]
        self.default_solver = first.default_solver if first.default_solver in SOLVERS else "rk4"  # type: ignore[misc]

    def at(self, t: float) -> LinearOperator:
        return self.at_times(torch.tensor([t], dtype=torch.float64))[0]

    def at_times(self, times: Tensor) -> Sequence[LinearOperator]:
        pairs = zip(self.first.at_times(times), self.second.at_times(times), strict=True)
        return [(1 - self.weight) * start + self.weight * end for start, end in pairs]

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        start = self.first.predict(z, t)
        return start + self.weight * (self.second.predict(z, t) - start)

    def flow(self, terminal: Terminal = "early") -> Flow:
        self.check_terminal(terminal)
        return guided(self.first.flow(terminal), self.second.flow(terminal), self.weight)

    def extra_repr(self) -> str:
        return f"{self.dim}, weight={self.weight:g}"
