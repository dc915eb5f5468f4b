"""The loop: one solver step after another, on vectors."""

from __future__ import annotations

from torch import Tensor

from linearizer_core.operators.flow.grids import grid_times
from linearizer_core.operators.flow.solvers import Solver, solver_named
from linearizer_core.operators.flow.steps import at_once, in_chunks, own_bytes
from linearizer_core.operators.flow.velocity import Flow, VelocityAt, as_flow


def integrate(flow: Flow | VelocityAt, z: Tensor, grid: Tensor, solver: str) -> Tensor:
    r"""The loop that `collapse` collapses: :math:`z \leftarrow S_k z` for one step after another over the times of ``grid``, in the dtype of ``z``.

    Differentiable. The velocities of many steps are evaluated at once, as memory allows (`CHUNK_BYTES`); the vectors go through one step at a time.

    Arguments:
        flow: a `Flow`, or a function that gives the velocity operator at a time.
        z: vectors ``(..., D)``.
        grid: N + 1 increasing times.
        solver: a name in `SOLVERS`.

    Raises:
        UnknownSolverError: for a name that is not in `SOLVERS`.
        ConfigError: for a grid that is not an increasing sequence of at least two times.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import ScaledIdentity
        >>> from linearizer_core.operators.flow import integrate, time_grid
        >>> integrate(lambda t: ScaledIdentity(-1.0, 2), torch.ones(2), time_grid(4, "last_step"), "euler")
        tensor([0.3164, 0.3164])
    """
    flow, method, times = as_flow(flow), solver_named(solver), grid_times(grid)
    # The first step alone tells how much memory a step takes.
    z, size = _advance(flow, method, z, times[:2], 1)
    return _advance(flow, method, z, times[1:], at_once(size))[0] if len(times) > 2 else z


def _advance(flow: Flow, method: Solver, z: Tensor, times: list[float], chunk: int) -> tuple[Tensor, int]:
    """``z`` at the last of ``times``, and the bytes that the velocities of the last step took."""
    for steps in in_chunks(method, times, chunk):
        operators = flow.velocities(steps.times)
        for (start, stop), nodes in zip(steps.ends, steps.index.T.tolist(), strict=True):
            velocities = [operators[node].to(z.dtype) for node in nodes]
            z = method.advance(velocities, z, stop - start)
            if (factor := flow.factor(start, stop)) is not None:
                z = factor.to(z.dtype)(z)
    return z, sum(own_bytes(velocity) for velocity in velocities)
