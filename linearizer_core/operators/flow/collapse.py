"""The collapse: all steps of a solver as one operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators import base
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.dense import Dense
from linearizer_core.operators.flow.coordinates import Coordinates
from linearizer_core.operators.flow.frames import Frame, frame_of
from linearizer_core.operators.flow.grids import grid_times
from linearizer_core.operators.flow.solvers import Solver, solver_named
from linearizer_core.operators.flow.steps import Steps, at_once, in_chunks, own_bytes
from linearizer_core.operators.flow.velocity import Flow, VelocityAt, as_flow
from linearizer_core.operators.flow.windows import as_low_rank, compose_windows, product
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.lazy import Product, Sum
from linearizer_core.operators.scaled_identity import ScaledIdentity

_BATCHES = 12
"""So many batches of coordinates live at once in the composition of one chunk: nodes, stages, and what they are made of."""


@torch.no_grad()
def collapse(flow: Flow | VelocityAt, grid: Tensor, solver: str, *, rtol: float | None = None, dtype: torch.dtype = torch.float64) -> LinearOperator:
    r"""All steps of ``solver`` over the times of ``grid`` as one operator, :math:`B = S_N \cdots S_2 S_1`: `integrate`, without vectors.

    The operator keeps the structure of the velocities:

    - a shared subspace stays in R dimensions, and the result holds the U and V of the flow themselves, not a copy: once they are trained on,
      it is worthless, and has to be made anew;
    - low rank gives :math:`c I + P Q^T`, composed a few steps at a time and then by pairs, which is cheaper than one step after another, as ranks grow with
      the length of the interval. Every product is cut to ``rtol``; where the rank passes D/2 it becomes `Dense`, if D is at most `DENSE_LIMIT`;
    - diagonal operators, masks and multiples of the identity stay what they are; dense ones, sums and products become `Dense`, below `DENSE_LIMIT`.

    Arguments:
        flow: a `Flow`, or a function that gives the velocity operator at a time.
        grid: N + 1 increasing times.
        solver: a name in `SOLVERS`.
        rtol: singular values of the low-rank part of a product are dropped up to this part of the largest; n such products are off by about n ``rtol``
            times the largest of the partial products at most, which a flow that grows and shrinks again may make large. By default 1e-12, or the rounding
            of the dtypes where that is larger: the velocities have no further digits.
        dtype: the precision of the composition and of the result.

    Raises:
        UnknownSolverError: for a name that is not in `SOLVERS`.
        ConfigError: for a grid that is not an increasing sequence of at least two times.
        DenseLimitError: for a flow without structure above `DENSE_LIMIT`.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> from linearizer_core.operators.flow import collapse, time_grid
        >>> decay = Diagonal(torch.tensor([-1.0, -2.0]))
        >>> collapse(lambda t: decay, time_grid(64, "last_step"), "rk4").values
        tensor([0.3679, 0.1353], dtype=torch.float64)
    """
    flow, times = as_flow(flow), grid_times(grid)
    result = Composer(flow, solver_named(solver), times[0], rtol=rtol, dtype=dtype)(times)
    factor = flow.factor(times[0], times[-1])
    return result if factor is None else result @ factor.to(dtype)


@final
class Composer:
    """Composes the steps of one solver on one flow, between any times; what kind of flow it is shows its velocity at ``time``."""

    def __init__(self, flow: Flow, solver: Solver, time: float, *, rtol: float | None, dtype: torch.dtype) -> None:
        probe = flow.probe(time)
        self.flow = flow
        self.solver = solver
        self.dtype = dtype
        self.rtol = max(1e-12, torch.finfo(probe.dtype).eps, torch.finfo(dtype).eps) if rtol is None else rtol
        self.frame = frame_of(probe)
        step = _BATCHES * self.frame.elements * dtype.itemsize if self.frame else 2 * len(solver.nodes) * own_bytes(probe)
        self._chunk = at_once(step)

    def __call__(self, times: list[float]) -> LinearOperator:
        """The operator of the steps between ``times``, the exact factor left out."""
        if self.frame and (found := self.coordinates(self.frame, times)) is not None:
            return self.frame.operator(found)
        return self.operator(times)

    def coordinates(self, frame: Frame, times: list[float]) -> Coordinates | None:
        """The same in the coordinates of ``frame``; None where a velocity does not lie in it."""
        whole: Coordinates | None = None
        for steps in in_chunks(self.solver, times, self._chunk):
            velocities = self.flow.coordinates(frame, steps.times, self.dtype)
            if velocities is None:
                return None
            device = velocities.numbers.device
            nodes = [velocities[index] for index in steps.index.to(device)]
            part = self.solver.step(nodes, steps.widths.to(device, self.dtype), nodes[0].identity()).product()
            whole = part if whole is None else part @ whole
        return whole

    def operator(self, times: list[float]) -> LinearOperator:
        """The same by products of operators: by pairs, so that ranks stay small as long as they can."""
        waiting: list[tuple[int, LinearOperator]] = []
        for steps in in_chunks(self.solver, times, self._chunk):
            for part in self._parts(steps):
                count, operator = 1, _tidied(part)
                while waiting and waiting[-1][0] == count:
                    operator = self.product(operator, waiting.pop()[1])
                    count *= 2
                waiting.append((count, operator))
        result = waiting.pop()[1]
        while waiting:
            result = self.product(result, waiting.pop()[1])
        return result

    def product(self, later: LinearOperator, earlier: LinearOperator) -> LinearOperator:
        """``later @ earlier``, cut to the rank it has."""
        if isinstance(later, IdentityPlusLowRank) and isinstance(earlier, IdentityPlusLowRank):
            return _tidied(product(later, earlier, self.rtol))
        return _tidied(later @ earlier)

    def _parts(self, steps: Steps) -> Iterator[LinearOperator]:
        """The steps as operators, the first ones first: few where they are of low rank, one each otherwise."""
        velocities = self.flow.velocities(steps.times)
        low_rank = [part for velocity in velocities if (part := as_low_rank(velocity, self.dtype)) is not None]
        if len(low_rank) == len(velocities):
            yield from compose_windows(self.solver, steps, low_rank, rtol=self.rtol, dtype=self.dtype)
            return
        wide = [velocity.to(self.dtype) for velocity in velocities]
        identity = ScaledIdentity(1.0, wide[0].shape[0], dtype=self.dtype, device=wide[0].device)
        for (start, stop), nodes in zip(steps.ends, steps.index.T.tolist(), strict=True):
            yield self.solver.step([wide[node] for node in nodes], stop - start, identity)


def _tidied(operator: LinearOperator) -> LinearOperator:
    """Dense where nothing is left of the structure."""
    if isinstance(operator, Product | Sum):
        return Dense(operator.to_dense())
    dim = operator.shape[0]
    full = isinstance(operator, IdentityPlusLowRank) and operator.columns > dim / 2
    return Dense(operator.to_dense()) if full and dim <= base.DENSE_LIMIT else operator
