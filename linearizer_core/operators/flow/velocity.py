"""Linear flows: what their velocity is at given times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from linearizer_core.errors import NoTerminalLimitError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.coordinates import Coordinates
from linearizer_core.operators.flow.frames import Frame
from linearizer_core.operators.flow.solvers import OPEN_SOLVERS
from linearizer_core.operators.scaled_identity import ScaledIdentity

VelocityAt = Callable[[float], LinearOperator]
"""The velocity operator at one time."""


class Flow(ABC):
    r"""A linear flow :math:`\dot z = L(t) z` on :math:`\mathbb{R}^D`.

    Note to implementers. Implement `velocities`; what all times have in common should be computed once. A flow with a part that is known exactly and commutes
    with the rest overrides `factor` and leaves that part out of its velocities: so a singularity is taken out of reach of the solver. `probe` and
    `coordinates` are for flows that know a shorter way than through their velocities.
    """

    @abstractmethod
    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        """L at each of ``times`` ``(N,)``, float64 on the CPU. Differentiable where the flow is."""

    def factor(self, start: float, stop: float) -> LinearOperator | None:
        """The exact flow from ``start`` to ``stop`` of the part that `velocities` leaves out; it commutes with all of them."""
        return None

    def probe(self, time: float) -> LinearOperator:
        """An operator of the kind that the velocities are."""
        return self.velocities(torch.tensor([time], dtype=torch.float64))[0]

    def coordinates(self, frame: Frame, times: Tensor, dtype: torch.dtype) -> Coordinates | None:
        """The velocities in the coordinates of ``frame``; None where they do not lie in it."""
        return frame.coordinates(self.velocities(times), dtype)


@final
@dataclass(frozen=True)
class PointwiseFlow(Flow):
    """A flow given by a function of one time.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import ScaledIdentity
        >>> decay = PointwiseFlow(lambda t: ScaledIdentity(-t, 3))
        >>> decay.velocities(torch.tensor([0.0, 0.5]))
        [ScaledIdentity(3 x 3, float32), ScaledIdentity(3 x 3, float32)]
    """

    velocity_at: VelocityAt

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        return [self.velocity_at(t) for t in times.tolist()]


@final
@dataclass(frozen=True)
class BatchedFlow(Flow):
    """A flow given by a function of many times ``(N,)`` at once, which returns one operator each."""

    velocities_at: Callable[[Tensor], Sequence[LinearOperator]]

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        return self.velocities_at(times)


def as_flow(flow: Flow | VelocityAt) -> Flow:
    """``flow``, or the flow with that velocity."""
    return flow if isinstance(flow, Flow) else PointwiseFlow(flow)


def velocity_operator(operator: LinearOperator, t: float) -> LinearOperator:
    r"""The velocity :math:`L(t) = (A_t - I)/(1 - t)` of the straight flow whose end point A_t predicts.

    Raises:
        NoTerminalLimitError: for t >= 1, where it is singular.
    """
    require_before_the_end(t)
    return (operator - ScaledIdentity(1.0, operator.shape[0], dtype=operator.dtype, device=operator.device)) / (1 - t)


def require_before_the_end(t: float) -> None:
    """Raise `NoTerminalLimitError` for t >= 1, where the velocity of a straight flow is singular."""
    if t >= 1:
        raise NoTerminalLimitError(
            f"the velocity (A_t - I)/(1 - t) was asked for at t = {t}, expected t < 1; stop the grid earlier (time_grid(T)), "
            f"or use a solver that never evaluates its end point ({', '.join(OPEN_SOLVERS)}), or terminal 'limit' where the core offers it"
        )
