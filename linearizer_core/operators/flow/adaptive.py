"""Time grids found by an error bound: steps as long as the operator allows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ConfigError, StepSizeError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.collapse import Composer
from linearizer_core.operators.flow.coordinates import Coordinates
from linearizer_core.operators.flow.frames import Frame
from linearizer_core.operators.flow.solvers import solver_named
from linearizer_core.operators.flow.velocity import Flow, VelocityAt, as_flow

_SMALLEST_STEP = 1e-12
_PASSES = 8
_BLOCKS = 32


@final
@dataclass(frozen=True)
class AdaptiveGrid:
    r"""A time grid with what is known about the solver on it.

    ``error_bound`` is an a-posteriori bound of :math:`\|B - \Phi\|_2`, B the collapse over ``times`` and :math:`\Phi` the exact propagator. It holds as far as
    step doubling tells the truth: as long as on every pair of steps halving the step at least halves the error (for Euler: divides it by 1.5), which every
    solver does once its steps are short. Rounding, and what the collapse cuts at ``rtol``, come on top.
    """

    times: Tensor
    error_bound: float
    rejected: int


@torch.no_grad()
def adaptive_grid(flow: Flow | VelocityAt, start: float = 0.0, stop: float = 1.0, *, tol: float, solver: str = "rk4", max_steps: int = 10_000) -> AdaptiveGrid:
    r"""The time grid on which ``solver`` comes within ``tol`` of the flow from ``start`` to ``stop``, as an operator.

    One step S is compared with two half steps :math:`\hat S`, as operators: :math:`\delta_k = \|S - \hat S\|_2` (twice that for Euler) bounds the error of
    the two, which are kept. Steps are chosen by the order of the solver, so that each has its part of ``tol``. What the local errors make of the whole is

    .. math:: \|B - \Phi\|_2 \le \sum_k \|\hat S_N \cdots \hat S_{k+1}\|_2 \; \delta_k \; \|\Phi_{k-1} \cdots \Phi_1\|_2,

    with the products as they are (in the end of at most 32 groups of steps, within which norms are multiplied), not with norms of single steps. Where that
    exceeds ``tol``, the search is repeated with a smaller one. All of this happens in the coordinates of the collapse: in R dimensions for a shared subspace.

    Arguments:
        flow: a `Flow`, or a function that gives the velocity operator at a time.
        start: the first time.
        stop: the last time.
        tol: the largest error of the operator: of the image of any vector of length 1.
        solver: a name in `SOLVERS`.
        max_steps: how many steps may be tried.

    Raises:
        ConfigError: unless ``start`` is before ``stop`` and ``tol`` positive.
        UnknownSolverError: for a name that is not in `SOLVERS`.
        StepSizeError: when the steps become too small, as before a singularity, or too many.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> from linearizer_core.operators.flow import adaptive_grid, collapse
        >>> decay = Diagonal(torch.tensor([-1.0, -20.0], dtype=torch.float64))
        >>> found = adaptive_grid(lambda t: decay, tol=1e-6, solver="rk4")
        >>> bool((collapse(lambda t: decay, found.times, "rk4").values - decay.values.exp()).abs().max() < found.error_bound < 1e-6)
        True
    """
    flow, method = as_flow(flow), solver_named(solver)
    if not (start < stop and tol > 0):
        raise ConfigError(f"adaptive_grid: start is {start}, stop {stop} and tol {tol}, expected start < stop and tol > 0")
    composer = Composer(flow, method, start, rtol=None, dtype=torch.float64)
    # What the flow leaves to an exact factor, which commutes with the rest, makes errors larger by its norm at most.
    factor = flow.factor(start, stop)
    growth = 1.0 if factor is None else max(1.0, factor.norm())
    search = _Search(method.order, start, stop, tol / growth, max_steps)
    found: AdaptiveGrid | None = None
    if composer.frame:
        with suppress(_OutOfFrameError):
            found = search.grid(_InCoordinates(composer, composer.frame))
    found = found or search.grid(_AsOperators(composer))
    return AdaptiveGrid(found.times, growth * found.error_bound, found.rejected)


X = TypeVar("X")


class _Way(ABC, Generic[X]):
    """How steps are composed and measured: their norms are a vector of a few numbers, one for each part on which they act by itself."""

    @abstractmethod
    def compose(self, times: list[float]) -> X: ...

    @abstractmethod
    def product(self, later: X, earlier: X) -> X: ...

    @abstractmethod
    def norms(self, operator: X) -> Tensor: ...

    @abstractmethod
    def distance(self, first: X, second: X) -> Tensor:
        """The norms of the difference."""

    @abstractmethod
    def total(self, norms: Tensor) -> float:
        """A bound of the norm of an operator whose parts have these ``norms``."""


class _OutOfFrameError(Exception):
    """A velocity that does not lie in the frame of the first."""


@final
@dataclass(frozen=True)
class _InCoordinates(_Way[Coordinates]):
    composer: Composer
    frame: Frame

    def compose(self, times: list[float]) -> Coordinates:
        found = self.composer.coordinates(self.frame, times)
        if found is None:
            raise _OutOfFrameError
        return found

    def product(self, later: Coordinates, earlier: Coordinates) -> Coordinates:
        return later @ earlier

    def norms(self, operator: Coordinates) -> Tensor:
        numbers, matrix = operator.numbers[0], operator.matrices[0]
        if not bool(matrix.isfinite().all()):
            return torch.full((2,), math.inf, dtype=torch.float64)
        parts = [numbers.abs().max() if len(numbers) else numbers.new_zeros(()), torch.linalg.matrix_norm(matrix, 2) if len(matrix) else matrix.new_zeros(())]
        return torch.stack(parts).cpu()

    def distance(self, first: Coordinates, second: Coordinates) -> Tensor:
        return self.norms(first - second)

    def total(self, norms: Tensor) -> float:
        return self.frame.norm_bound(norms[0].item(), norms[1].item())


@final
@dataclass(frozen=True)
class _AsOperators(_Way[LinearOperator]):
    composer: Composer

    def compose(self, times: list[float]) -> LinearOperator:
        return self.composer.operator(times)

    def product(self, later: LinearOperator, earlier: LinearOperator) -> LinearOperator:
        return self.composer.product(later, earlier)

    def norms(self, operator: LinearOperator) -> Tensor:
        finite = all(bool(tensor.isfinite().all()) for tensor in operator.tensors().values())
        return torch.tensor([operator.norm() if finite else math.inf], dtype=torch.float64)

    def distance(self, first: LinearOperator, second: LinearOperator) -> Tensor:
        return self.norms(first - second)

    def total(self, norms: Tensor) -> float:
        return norms.item()


@final
@dataclass(frozen=True)
class _Block(Generic[X]):
    """Some consecutive steps as one operator, with its norms and a bound of the norms of its error."""

    operator: X
    norms: Tensor
    error: Tensor


@final
@dataclass(frozen=True)
class _Search:
    order: int
    start: float
    stop: float
    tol: float
    max_steps: int

    def grid(self, way: _Way[X]) -> AdaptiveGrid:
        local, rejected, bound = self.tol, 0, math.inf
        for _ in range(_PASSES):
            times, blocks, failed = self._march(way, local)
            rejected += failed
            bound = _global_bound(way, blocks)
            if bound <= self.tol:
                return AdaptiveGrid(torch.tensor(times, dtype=torch.float64), bound, rejected)
            local *= 0.8 * self.tol / bound
        raise StepSizeError(f"adaptive_grid: the error bound is {bound:.1e} after {_PASSES} searches, expected at most tol = {self.tol:g}; raise tol")

    def _march(self, way: _Way[X], tol: float) -> tuple[list[float], list[_Block[X]], int]:
        """The times, the steps in blocks, and how many steps were rejected, with each step's error within its part of ``tol``."""
        span = self.stop - self.start
        safety = max(1.0, 2 / (2**self.order - 1))
        times, blocks, rejected = [self.start], [], 0
        width = span / 16
        while times[-1] < self.stop:
            begin = times[-1]
            end = self.stop if begin + 1.01 * width >= self.stop else begin + width
            width = end - begin
            self._require_progress(begin, width, len(times) // 2 + rejected, span)
            whole, halves = way.compose([begin, end]), way.compose([begin, begin + width / 2, end])
            error = safety * way.distance(whole, halves)
            size, allowed = way.total(error), tol * width / span
            if size <= allowed:
                times += [begin + width / 2, end]
                blocks.append(_Block(halves, way.norms(halves), error))
                if len(blocks) == 2 * _BLOCKS:
                    blocks = [_joined(way, *pair) for pair in zip(blocks[1::2], blocks[::2], strict=True)]
            else:
                rejected += 1
            ratio = (allowed / size) ** (1 / self.order) if 0 < size < math.inf else (5.0 if size == 0 else 0.0)
            width *= min(5.0, max(0.2, 0.9 * ratio))
        return times, blocks, rejected

    def _require_progress(self, time: float, width: float, steps: int, span: float) -> None:
        fix = (
            "a core without a limit at t = 1 needs an earlier stop, such as 0.99, or the terminal rule 'limit' where it has one; "
            "velocities in float32 are too rough for errors below about 1e-6; else raise tol"
        )
        if width < _SMALLEST_STEP * span:
            raise StepSizeError(f"adaptive_grid: the step size fell to {width:.1e} at t = {time:.12g}, expected at least {_SMALLEST_STEP * span:.0e}; {fix}")
        if steps >= self.max_steps:
            raise StepSizeError(
                f"adaptive_grid: at t = {time:.12g} after {steps} steps, expected {self.stop:g} in {self.max_steps}; "
                f"{fix} (here {self.tol:g}), take a solver of higher order, or raise max_steps"
            )


def _joined(way: _Way[X], later: _Block[X], earlier: _Block[X]) -> _Block[X]:
    operator = way.product(later.operator, earlier.operator)
    error = later.norms * earlier.error + later.error * (earlier.norms + earlier.error)
    return _Block(operator, way.norms(operator), error)


def _global_bound(way: _Way[X], blocks: list[_Block[X]]) -> float:
    one = torch.ones_like(blocks[0].norms)
    remaining, operator = [one], blocks[-1].operator
    for block in reversed(blocks[1:-1]):
        remaining.append(way.norms(operator))
        operator = way.product(operator, block.operator)
    if len(blocks) > 1:
        remaining.append(way.norms(operator))
    total, done, error, prefix = torch.zeros_like(one), one, torch.zeros_like(one), None
    for block, after in zip(blocks, reversed(remaining), strict=True):
        # The exact flow so far is as large as ours, give or take its error.
        total = total + after * block.error * (done + error)
        error = block.norms * error + block.error * (done + error)
        prefix = block.operator if prefix is None else way.product(block.operator, prefix)
        done = way.norms(prefix)
    return way.total(total)
