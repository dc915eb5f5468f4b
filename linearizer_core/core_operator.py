"""The learnable core: a module that turns its parameters, and a condition, into a linear operator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError, ConfigError, ShapeMismatchError, UnknownSolverError
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import SOLVERS, collapse, grid_times, integrate, velocity_operator


class CoreOperator(nn.Module, ABC):
    r"""Parameters (and a condition) in, a linear operator :math:`A: \mathbb{R}^n \to \mathbb{R}^m` out.

    Note to implementers. A core MUST call ``super().__init__((m, n))`` and implement `operator`. The operator it returns
    keeps the graph to the parameters, so that losses may go through it. Names of categorical conditions it uses go into
    ``conditions`` (name to number of categories).
    """

    def __init__(self, shape: tuple[int, int], *, conditions: dict[str, int] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.conditions: dict[str, int] = dict(conditions or {})

    @abstractmethod
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        """The operator under ``condition``."""


class TimeDependentCore(CoreOperator):
    r"""A core :math:`A_t` that predicts the end point of a flow, :math:`A_t z_t \approx z_1`, for t in [0, 1].

    On the straight path :math:`z_t = (1-t) z_0 + t z_1` the velocity is :math:`v = (A_t z - z)/(1-t)`, linear in z; so
    a solver with any number of steps is one linear operator, its *propagator* (arXiv 2510.08570, section on one-step
    flow matching).

    Note to implementers. Implement `at` and `predict`; they must agree: ``predict(z, t)[i] == at(t[i])(z[i])``. A core that has
    an exact or a regular propagator adds its solver's name to ``solvers`` and overrides `propagator` and `integrate`.
    """

    solvers: ClassVar[tuple[str, ...]] = tuple(SOLVERS)
    leading_rank: int | None = None
    """r, where A_t keeps the first r coordinates and maps the others to zero; None for any other core."""

    def __init__(self, dim: int) -> None:
        super().__init__((dim, dim))
        self.dim = dim

    @abstractmethod
    def at(self, t: float) -> LinearOperator:
        """The operator A_t at one time t in [0, 1]."""

    @abstractmethod
    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        """``A_t z`` for a batch ``z`` of shape ``(B, D)`` with one time each, ``t`` of shape ``(B,)``. Differentiable: training runs through it."""

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        if condition is None or "time" not in condition or condition["time"].numel() != 1:
            raise ConditionError(f"{type(self).__name__} depends on time; pass Condition(time=torch.tensor([t])) with one t in [0, 1], or call at(t)")
        return self.at(condition["time"].item())

    def velocity_at(self, t: float) -> LinearOperator:
        """The operator of the velocity, ``(A_t - I)/(1 - t)``, for t < 1."""
        return velocity_operator(self.at(t), t)

    def propagator(self, grid: Tensor, solver: str = "euler", *, rtol: float = 1e-12) -> LinearOperator:
        """Collapse all steps of ``solver`` over the time ``grid`` (N + 1 increasing times) into one operator.

        The steps are composed in float64 and the result is returned in float64; ``rtol`` is the relative tolerance of
        the rank recompression.

        Raises:
            UnknownSolverError: for a solver that this core does not offer.
            ConfigError: for a grid that is not an increasing sequence of at least two times in [0, 1].
            NoTerminalLimitError: for a grid on which the solver would evaluate the velocity at t = 1.
        """
        self.check_flow(grid, solver)
        return collapse(self.velocity_at, grid, solver, rtol=rtol)

    def integrate(self, z: Tensor, grid: Tensor, solver: str = "euler") -> Tensor:
        """Run the loop that `propagator` collapses: one solver step after another on ``z`` of shape ``(..., D)``."""
        self.check_flow(grid, solver)
        return integrate(self.velocity_at, z, grid, solver)

    def check_flow(self, grid: Tensor, solver: str) -> list[float]:
        """The times of ``grid``; raise unless they increase within [0, 1] and the core offers ``solver``."""
        if solver not in self.solvers:
            raise UnknownSolverError(f"{type(self).__name__} has no solver {solver!r}; it offers: {', '.join(self.solvers)}")
        times = grid_times(grid)
        if times[0] < 0 or times[-1] > 1:
            raise ConfigError(f"{type(self).__name__}: the time grid runs from {times[0]:g} to {times[-1]:g}, expected times in [0, 1]; uniform_grid makes one")
        return times

    def check_batch(self, z: Tensor, t: Tensor) -> None:
        """Raise `ShapeMismatchError` unless ``z`` is ``(B, D)`` and ``t`` ``(B,)``."""
        if z.ndim != 2 or z.shape[1] != self.dim or t.shape != z.shape[:1]:
            raise ShapeMismatchError(f"{type(self).__name__}: z has shape {tuple(z.shape)} and t {tuple(t.shape)}, expected (B, {self.dim}) and (B,)")
