r"""Linear flows :math:`\dot z = L(t) z`: time grids, the loop over steps, and its collapse into one operator (arXiv 2510.08570, one-step flow matching)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from linearizer_core.errors import ConfigError, NoTerminalLimitError, UnknownSolverError
from linearizer_core.operators import base
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.dense import Dense
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.lazy import Product, Sum
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.shared_subspace import SharedSubspace
from linearizer_core.operators.solvers import SOLVERS, Solver, VelocityAt

__all__ = ["SOLVERS", "VelocityAt", "collapse", "grid_times", "integrate", "uniform_grid", "velocity_operator"]


def uniform_grid(steps: int, stop: float | None = None) -> Tensor:
    """Equally spaced float64 times from 0.

    By default the published rule: ``steps - 1`` steps of ``1/steps``, ending at ``1 - 1/steps``. With ``stop``: ``steps`` steps that end there.

    Raises:
        ConfigError: when there would be no step, or ``stop`` is outside (0, 1].

    Example:
        >>> from linearizer_core.operators.flow import uniform_grid
        >>> uniform_grid(4).tolist(), uniform_grid(4, stop=1.0).tolist()
        ([0.0, 0.25, 0.5, 0.75], [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    least = 2 if stop is None else 1
    if steps < least:
        raise ConfigError(f"uniform_grid: {steps} steps, expected at least {least}; the default grid stops one step short of 1, stop=1.0 does not")
    if stop is None:
        return torch.arange(steps, dtype=torch.float64) / steps
    if not 0 < stop <= 1:
        raise ConfigError(f"uniform_grid: stop is {stop}, expected a time in (0, 1]")
    return stop * (torch.arange(steps + 1, dtype=torch.float64) / steps)


def grid_times(grid: Tensor) -> list[float]:
    """The times of a grid, as numbers.

    Raises:
        ConfigError: for a grid that is not an increasing sequence of at least two times.
    """
    times: list[float] = grid.tolist() if grid.ndim == 1 else []
    if len(times) < 2 or not all(start < stop for start, stop in pairwise(times)):
        raise ConfigError(f"time grid of shape {tuple(grid.shape)}: expected at least two increasing times; uniform_grid makes one")
    return times


def velocity_operator(operator: LinearOperator, t: float) -> LinearOperator:
    r"""The velocity :math:`L(t) = (A_t - I)/(1 - t)` of the straight flow whose end point A_t predicts.

    Raises:
        NoTerminalLimitError: for t >= 1, where it is singular.
    """
    if t >= 1:
        raise NoTerminalLimitError(
            f"the velocity (A_t - I)/(1 - t) was asked for at t = {t}, expected t < 1; stop the grid earlier (uniform_grid(T)), "
            "or use a solver that never evaluates its end point (euler, midpoint, magnus4) or a core with a regular form"
        )
    return (operator - ScaledIdentity(1.0, operator.shape[0], dtype=operator.dtype, device=operator.device)) / (1 - t)


@torch.no_grad()
def collapse(velocity_at: VelocityAt, grid: Tensor, solver: str, *, rtol: float = 1e-12) -> LinearOperator:
    r"""All steps of ``solver`` over the N + 1 times of ``grid`` as one operator: the last step is the leftmost factor.

    Composed and returned in float64, without gradients. `SharedSubspace` flows stay in R dimensions. `IdentityPlusLowRank` products are compressed
    as they grow, to ``rtol`` of the largest singular value of their low-rank part; where the rank passes D/2 they become `Dense` below
    `DENSE_LIMIT`, as does what has no structure.

    Raises:
        UnknownSolverError: for a name that is not in `SOLVERS`.
        ConfigError: for a grid that is not an increasing sequence of at least two times.
        DenseLimitError: for a flow without structure above `DENSE_LIMIT`.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> from linearizer_core.operators.flow import collapse, uniform_grid
        >>> decay = Diagonal(torch.tensor([-1.0, -2.0]))
        >>> collapse(lambda t: decay, uniform_grid(64, stop=1.0), "rk4").values
        tensor([0.3679, 0.1353], dtype=torch.float64)
    """
    method, times = _solver(solver), grid_times(grid)
    widen = _Widening()
    result: LinearOperator | None = None
    for start, stop in pairwise(times):
        step = method.step(lambda t: widen(velocity_at(t)), start, stop)
        result = _tidied(step if result is None else _tidied(step, rtol) @ result, rtol)
    assert result is not None
    return result.compress(rtol) if isinstance(result, IdentityPlusLowRank) else result


def integrate(velocity_at: VelocityAt, z: Tensor, grid: Tensor, solver: str) -> Tensor:
    """The loop that `collapse` collapses: one step after another on ``z`` of shape ``(..., D)``, in the dtype of ``z``. Differentiable.

    Raises:
        UnknownSolverError: for a name that is not in `SOLVERS`.
        ConfigError: for a grid that is not an increasing sequence of at least two times.
    """
    method, times = _solver(solver), grid_times(grid)
    for start, stop in pairwise(times):
        z = method.advance(lambda t: velocity_at(t).to(z.dtype), z, start, stop)  # noqa: B023 (called at once)
    return z


class _Widening:
    """To float64, so that operators which share a subspace still share one afterwards, and its Gram matrix is computed once."""

    def __init__(self) -> None:
        self._last: tuple[SharedSubspace, SharedSubspace] | None = None

    def __call__(self, operator: LinearOperator) -> LinearOperator:
        if not isinstance(operator, SharedSubspace):
            return operator.to(torch.float64)
        if self._last is None or not operator.shares_subspace(self._last[0]):
            self._last = operator, operator.to(torch.float64)
        wide = self._last[1]
        return SharedSubspace(operator.scale.double(), wide.left, operator.core.double(), wide.right, wide.gram)


def _tidied(operator: LinearOperator, rtol: float) -> LinearOperator:
    if isinstance(operator, Product | Sum):
        return Dense(operator.to_dense())
    if not isinstance(operator, IdentityPlusLowRank):
        return operator
    compact = operator.compress(rtol)
    dim = compact.shape[0]
    return Dense(compact.to_dense()) if compact.columns > dim / 2 and dim <= base.DENSE_LIMIT else compact


def _solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise UnknownSolverError(f"unknown solver {name!r}, expected one of: {', '.join(SOLVERS)}")
    return SOLVERS[name]
