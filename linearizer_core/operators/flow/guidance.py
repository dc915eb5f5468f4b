"""Guidance: the velocities of two flows, mixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor

from linearizer_core.errors import ConfigError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.subspace import SubspaceFlow
from linearizer_core.operators.flow.velocity import Flow
from linearizer_core.operators.shared_subspace import same_tensor


def guided(first: Flow, second: Flow, weight: float) -> Flow:
    r"""The flow with velocity :math:`L_0(t) + w (L_1(t) - L_0(t))`: ``first`` for w = 0, ``second`` for w = 1, beyond it for w > 1.

    This is guidance between two conditions. It is linear in z, so it collapses like any other flow: exactly, into one operator, which is not a mixture of the
    two collapsed operators. Two regular `SubspaceFlow` on one subspace stay one.

    Raises:
        ConfigError: for flows of which one or both leave a part to an exact factor, unless they are `SubspaceFlow` on one subspace.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import ScaledIdentity
        >>> from linearizer_core.operators.flow import PointwiseFlow, collapse, guided, time_grid
        >>> slow, fast = (PointwiseFlow(lambda t, rate=rate: ScaledIdentity(rate, 2, torch.float64)) for rate in (-1.0, -2.0))
        >>> collapse(guided(slow, fast, 1.5), time_grid(1, "last_step"), "magnus4").scale
        tensor(0.0821, dtype=torch.float64)
    """
    if isinstance(first, SubspaceFlow) and isinstance(second, SubspaceFlow) and _share_subspace(first, second):

        def mixed(times: Tensor) -> Tensor:
            start = first.generator(times)
            return start + weight * (second.generator(times) - start)

        return SubspaceFlow(first.left, first.right, mixed, regular=first.regular)
    if not can_be_guided(first, second):
        raise ConfigError(
            "guided: a flow in regular form leaves a part to an exact factor, which has to be the same for both; expected two flows on one subspace, "
            "or two flows without such a factor: ask the cores for flow('early')"
        )
    return _Guided(first, second, weight)


def can_be_guided(first: Flow, second: Flow) -> bool:
    """Whether `guided` takes these two: on one subspace, or neither with an exact factor."""
    if isinstance(first, SubspaceFlow) and isinstance(second, SubspaceFlow) and _share_subspace(first, second):
        return True
    return first.factor(0.0, 0.5) is None and second.factor(0.0, 0.5) is None


@final
@dataclass(frozen=True)
class _Guided(Flow):
    first: Flow
    second: Flow
    weight: float

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        pairs = zip(self.first.velocities(times), self.second.velocities(times), strict=True)
        return [(1 - self.weight) * start + self.weight * end for start, end in pairs]


def _share_subspace(first: SubspaceFlow, second: SubspaceFlow) -> bool:
    return first.regular == second.regular and same_tensor(first.left, second.left) and same_tensor(first.right, second.right)
