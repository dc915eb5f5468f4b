"""Fixed points of contractions, with a bound on the error and a report."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.bijections.base import Bijection
from linearizer_core.condition import Condition
from linearizer_core.errors import ConvergenceError

_ROUNDINGS = 16.0
_PATIENCE = 5


@dataclass(frozen=True)
class FixedPointReport:
    """What one iteration to a fixed point found, over the whole batch.

    ``iterations`` is their number, ``bound`` the a-posteriori bound on the Euclidean distance of the worst example to the true fixed point (rounding
    aside), and ``contraction`` the mean factor by which its steps shrank: the smaller, the faster.
    """

    iterations: int
    bound: float
    contraction: float


_reports: ContextVar[list[FixedPointReport] | None] = ContextVar("_reports", default=None)


def inverse_with_report(bijection: Bijection, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, tuple[FixedPointReport, ...]]:
    """``bijection.inverse(z, condition)``, and one report for each fixed point on the way, in the order of their computation: the last block of a chain first.

    It works for anything that contains `ContractiveResidual` blocks; a bijection with an analytic inverse has no reports.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Chain, ContractiveResidual, MLPConditioner, inverse_with_report
        >>> g = Chain(*(ContractiveResidual((4,), MLPConditioner(4, 4, width=8, lipschitz=0.9), contraction=0.9) for _ in range(3)))
        >>> x, reports = inverse_with_report(g, torch.ones(1, 4))
        >>> [report.iterations for report in reports]  # zero-initialised: there is nothing to undo yet
        [1, 1, 1]
    """
    reports: list[FixedPointReport] = []
    token = _reports.set(reports)
    try:
        x = bijection.inverse(z, condition)
    finally:
        _reports.reset(token)
    return x, tuple(reports)


@torch.no_grad()
def solve_fixed_point(step: Callable[[Tensor], Tensor], start: Tensor, *, name: str, contraction: float, tolerance: float, max_iterations: int) -> Tensor:
    r"""Iterate :math:`x_k = T(x_{k-1})` from ``start``, a batch of independent problems, until each has

    .. math::
        |x_k - x^*| \le \tfrac{c}{1 - c}\, |x_k - x_{k-1}| \le \texttt{tolerance} \cdot \max(|x_0|, |x_k|)

    (Banach), or steps that are rounding errors. A problem that is solved stays as it is, so that no example depends on the rest of its batch. One
    that is not finite passes through, as it does through any other layer.

    Raises:
        ConvergenceError: after ``max_iterations``.
    """
    factor = contraction / (1 - contraction)
    # Errors of one step add up to 1 / (1 - c) of them. Steps that small are noise once they no longer shrink: arithmetic can do no better.
    noise = _ROUNDINGS * torch.finfo(start.dtype).eps / (1 - contraction)
    size = _norms(start)
    x, active = start, torch.ones_like(size, dtype=torch.bool)
    first = last = counts = waiting = torch.zeros_like(size)
    smallest = torch.full_like(size, torch.inf)
    for iteration in range(1, max_iterations + 1):
        proposal = step(x)
        change = _norms(proposal - x)
        x = torch.where(active.reshape(-1, *(1,) * (x.ndim - 1)), proposal, x)
        relative = change / torch.maximum(size, _norms(proposal)).clamp_min(torch.finfo(size.dtype).tiny)
        waiting, smallest = torch.where(change < smallest, 0, waiting + 1), torch.minimum(change, smallest)
        first, last, counts = change if iteration == 1 else first, torch.where(active, change, last), counts + active
        active = active & (factor * relative > tolerance) & ((relative > noise) | (waiting < _PATIENCE))
        if not bool(active.any()):
            break
    converged = not bool(active.any())
    reports = _reports.get()
    if converged and reports is None:
        return x
    shrinking = (last / first.clamp_min(torch.finfo(first.dtype).tiny)) ** (1 / (counts - 1).clamp_min(1))
    report = FixedPointReport(iteration, factor * float(last.max()), float(shrinking.where(counts > 1, 0).max()))
    if not converged:
        raise ConvergenceError(
            f"{name}: no fixed point after {report.iterations} iterations for {int(active.sum())} of {len(active)} examples; the error is bounded by "
            f"{report.bound:.1e}, expected at most {tolerance:.0e} of the input's norm; steps shrank by {report.contraction:.3f} an iteration, expected at "
            f"most {contraction:g}. If they shrank more slowly, the residual is no such contraction: bound its layers (lipschitz = {contraction:g}); "
            "if not, raise max_iterations or tolerance"
        )
    if reports is not None:
        reports.append(report)
    return x


def _norms(x: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norms
