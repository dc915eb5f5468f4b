"""One step of a solver for a linear flow, as an operator and on vectors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from torch import Tensor

from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.scaled_identity import ScaledIdentity

VelocityAt = Callable[[float], LinearOperator]


class Solver(ABC):
    r"""A one-step method for :math:`\dot z = L(t) z`. `step` and `advance` are the same map, once as an operator and once on vectors."""

    @property
    @abstractmethod
    def order(self) -> int:
        """The order of convergence in the step size."""

    @abstractmethod
    def step(self, velocity_at: VelocityAt, start: float, stop: float) -> LinearOperator:
        """The operator of one step."""

    @abstractmethod
    def advance(self, velocity_at: VelocityAt, z: Tensor, start: float, stop: float) -> Tensor:
        """One step on vectors ``(..., D)``."""


@final
@dataclass(frozen=True)
class RungeKutta(Solver):
    r"""An explicit Runge-Kutta method, given by its tableau: ``matrix`` :math:`a_{ij}`, ``weights`` :math:`b_i`, ``nodes`` :math:`c_i`.

    On a linear flow its stages are operators, nested: :math:`K_i = h L(t + c_i h) (I + \sum_j a_{ij} K_j)`; the step is :math:`I + \sum_i b_i K_i`.
    """

    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    nodes: tuple[float, ...]
    order: int = 1

    def step(self, velocity_at: VelocityAt, start: float, stop: float) -> LinearOperator:
        velocities = self._velocities(velocity_at, start, stop)
        dim = velocities[self.nodes[0]].shape[0]
        first = velocities[self.nodes[0]]
        identity = ScaledIdentity(1.0, dim, dtype=first.dtype, device=first.device)
        stages: list[LinearOperator] = []
        for row, node in zip(self.matrix, self.nodes, strict=True):
            stages.append((stop - start) * (velocities[node] @ _combined(identity, row, stages)))
        return _combined(identity, self.weights, stages)

    def advance(self, velocity_at: VelocityAt, z: Tensor, start: float, stop: float) -> Tensor:
        velocities = self._velocities(velocity_at, start, stop)
        stages: list[Tensor] = []
        for row, node in zip(self.matrix, self.nodes, strict=True):
            inner = sum((weight * stage for weight, stage in zip(row, stages, strict=True) if weight), start=z)
            stages.append((stop - start) * velocities[node](inner))
        return sum((weight * stage for weight, stage in zip(self.weights, stages, strict=True)), start=z)

    def _velocities(self, velocity_at: VelocityAt, start: float, stop: float) -> dict[float, LinearOperator]:
        # t + (1 - t) is 1 in floating point for every t in [0, 1]: no node at the end of a flow is rounded off its singularity.
        return {node: velocity_at(start + node * (stop - start)) for node in dict.fromkeys(self.nodes)}


@final
@dataclass(frozen=True)
class Magnus4(Solver):
    r"""The fourth-order Magnus integrator with two Gauss points: :math:`e^\Omega`,
    :math:`\Omega = \frac{h}{2}(L_1 + L_2) + \frac{\sqrt 3}{12} h^2 [L_2, L_1]` with :math:`L_{1,2} = L(t + (\frac12 \mp \frac{\sqrt 3}{6}) h)`
    (Blanes, Casas, Oteo, Ros, arXiv 0810.5488). It never evaluates the ends of the interval.
    """

    order: int = 4

    def step(self, velocity_at: VelocityAt, start: float, stop: float) -> LinearOperator:
        width = stop - start
        first, second = (velocity_at(start + (0.5 + sign * math.sqrt(3) / 6) * width) for sign in (-1, 1))
        commutator = second @ first - first @ second
        exponent = (width / 2) * (first + second) + (math.sqrt(3) / 12 * width**2) * commutator
        return (exponent.compress() if isinstance(exponent, IdentityPlusLowRank) else exponent).expm()

    def advance(self, velocity_at: VelocityAt, z: Tensor, start: float, stop: float) -> Tensor:
        return self.step(velocity_at, start, stop)(z)


def _combined(identity: LinearOperator, weights: tuple[float, ...], stages: list[LinearOperator]) -> LinearOperator:
    total = identity
    for weight, stage in zip(weights, stages, strict=True):
        if weight:
            total = total + weight * stage
    return total


SOLVERS: dict[str, Solver] = {
    "euler": RungeKutta(matrix=((),), weights=(1.0,), nodes=(0.0,), order=1),
    "midpoint": RungeKutta(matrix=((), (0.5,)), weights=(0.0, 1.0), nodes=(0.0, 0.5), order=2),
    "heun": RungeKutta(matrix=((), (1.0,)), weights=(0.5, 0.5), nodes=(0.0, 1.0), order=2),
    "rk4": RungeKutta(matrix=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6), nodes=(0.0, 0.5, 0.5, 1.0), order=4),
    "magnus4": Magnus4(),
}
"""The solvers every flow core offers, by name. Those with a node at 1 (heun, rk4) cannot take a step that ends at t = 1, where the velocity is singular."""
