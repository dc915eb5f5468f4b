"""Solvers of linear flows: where they evaluate the velocity, and what one step is, as an operator and on vectors."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar, final

from torch import Tensor

from linearizer_core.errors import UnknownSolverError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank

_GAUSS = math.sqrt(3) / 6


class Algebra(Protocol):
    """What the step of a solver is made with: one `LinearOperator`, or many operators in `Coordinates`."""

    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __mul__(self, factor: float | Tensor, /) -> Self: ...
    def __matmul__(self, other: Self, /) -> Self: ...
    def expm(self) -> Self: ...


A = TypeVar("A", bound=Algebra)


class Solver(ABC):
    r"""A one-step method for :math:`\dot z = L(t) z`. `step` and `advance` are the same map, once as an operator and once on vectors.

    Both take the velocities at the ``nodes`` of the step. All of these times are known before any step is taken, so the velocity can be evaluated at many
    times at once.
    """

    @property
    @abstractmethod
    def order(self) -> int:
        """The order of convergence in the step size."""

    @property
    @abstractmethod
    def nodes(self) -> tuple[float, ...]:
        """Where in a step the velocity is evaluated, as parts of the step: 0 is its start, 1 its end."""

    @abstractmethod
    def step(self, velocities: Sequence[A], width: float | Tensor, identity: A) -> A:
        """The operator of one step; or of many steps at once, where the velocities and the widths are those of many."""

    @abstractmethod
    def advance(self, velocities: Sequence[LinearOperator], z: Tensor, width: float) -> Tensor:
        """One step on vectors ``(..., D)``."""

    @property
    def evaluates_end(self) -> bool:
        """Whether it needs the velocity at the end of a step, so that no step of it can end where that is singular."""
        return 1.0 in self.nodes

    def times(self, start: float, stop: float) -> list[float]:
        """The nodes of one step as times."""
        # The ends are taken as they are: rounded, a node at the end of a flow might come to lie off, or on, its singularity.
        return [{0.0: start, 1.0: stop}.get(node, start + node * (stop - start)) for node in self.nodes]


@final
@dataclass(frozen=True)
class RungeKutta(Solver):
    r"""An explicit Runge-Kutta method, given by its tableau: ``matrix`` :math:`a_{ij}`, ``weights`` :math:`b_i`, ``stages`` :math:`c_i`.

    On a linear flow its stages are operators, nested: :math:`K_i = h L(t + c_i h) (I + \sum_j a_{ij} K_j)`; the step is :math:`I + \sum_i b_i K_i`.
    """

    matrix: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    stages: tuple[float, ...]
    order: int = 1

    @property
    def nodes(self) -> tuple[float, ...]:
        return tuple(dict.fromkeys(self.stages))

    def step(self, velocities: Sequence[A], width: float | Tensor, identity: A) -> A:
        scaled = [velocity * width for velocity in velocities]
        found: list[A] = []
        for row, stage in zip(self.matrix, self.stages, strict=True):
            velocity = scaled[self.nodes.index(stage)]
            found.append(velocity @ _plus(identity, row, found) if any(row) else velocity)
        return _plus(identity, self.weights, found)

    def advance(self, velocities: Sequence[LinearOperator], z: Tensor, width: float) -> Tensor:
        found: list[Tensor] = []
        for row, stage in zip(self.matrix, self.stages, strict=True):
            inner = sum((weight * each for weight, each in zip(row, found, strict=True) if weight), start=z)
            found.append(width * velocities[self.nodes.index(stage)](inner))
        return sum((weight * each for weight, each in zip(self.weights, found, strict=True) if weight), start=z)


class _Exponential(Solver, ABC):
    """A method whose step is the exponential of one operator."""

    @abstractmethod
    def exponent(self, velocities: Sequence[A], width: float | Tensor) -> A: ...

    def step(self, velocities: Sequence[A], width: float | Tensor, identity: A) -> A:
        return self.exponent(velocities, width).expm()

    def advance(self, velocities: Sequence[LinearOperator], z: Tensor, width: float) -> Tensor:
        exponent = self.exponent(velocities, width)
        return (exponent.compress() if isinstance(exponent, IdentityPlusLowRank) else exponent).expm()(z)


@final
@dataclass(frozen=True)
class ExponentialMidpoint(_Exponential):
    r"""The exponential midpoint rule :math:`e^{h L(t + h/2)}`, the Magnus integrator of second order (arXiv 0810.5488). It never evaluates the ends."""

    order: int = 2
    nodes: tuple[float, ...] = (0.5,)

    def exponent(self, velocities: Sequence[A], width: float | Tensor) -> A:
        return velocities[0] * width


@final
@dataclass(frozen=True)
class Magnus4(_Exponential):
    r"""The fourth-order Magnus integrator with two Gauss points: :math:`e^\Omega`,
    :math:`\Omega = \frac{h}{2}(L_1 + L_2) + \frac{\sqrt 3}{12} h^2 [L_2, L_1]` with :math:`L_{1,2} = L(t + (\frac12 \mp \frac{\sqrt 3}{6}) h)`
    (Blanes, Casas, Oteo, Ros, arXiv 0810.5488). It never evaluates the ends of the interval.
    """

    order: int = 4
    nodes: tuple[float, ...] = (0.5 - _GAUSS, 0.5 + _GAUSS)

    def exponent(self, velocities: Sequence[A], width: float | Tensor) -> A:
        first, second = (velocity * width for velocity in velocities)
        return (first + second) * 0.5 + (second @ first - first @ second) * (_GAUSS / 2)


def _plus(identity: A, weights: tuple[float, ...], found: list[A]) -> A:
    total = identity
    for weight, each in zip(weights, found, strict=True):
        if weight:
            total = total + each * weight
    return total


SOLVERS: dict[str, Solver] = {
    "euler": RungeKutta(matrix=((),), weights=(1.0,), stages=(0.0,), order=1),
    "midpoint": RungeKutta(matrix=((), (0.5,)), weights=(0.0, 1.0), stages=(0.0, 0.5), order=2),
    "heun": RungeKutta(matrix=((), (1.0,)), weights=(0.5, 0.5), stages=(0.0, 1.0), order=2),
    "rk4": RungeKutta(matrix=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), weights=(1 / 6, 1 / 3, 1 / 3, 1 / 6), stages=(0.0, 0.5, 0.5, 1.0), order=4),
    "exponential_midpoint": ExponentialMidpoint(),
    "magnus4": Magnus4(),
}
"""The solvers every flow core offers, by name. Those that evaluate the end of a step (heun, rk4) cannot end where the velocity is singular."""

OPEN_SOLVERS = tuple(name for name, solver in SOLVERS.items() if not solver.evaluates_end)
"""Those that never evaluate the end of a step."""


def solver_named(name: str) -> Solver:
    """The solver of a name.

    Raises:
        UnknownSolverError: for a name that is not in `SOLVERS`.
    """
    if name not in SOLVERS:
        raise UnknownSolverError(f"unknown solver {name!r}, expected one of: {', '.join(SOLVERS)}")
    return SOLVERS[name]
