"""Steps of low-rank velocities, a few at a time: exact in the coordinates of their factors, then cut to the rank they have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from linearizer_core.errors import DivergedFlowError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.solvers import Solver
from linearizer_core.operators.flow.steps import Steps
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.low_rank import LowRank
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.shared_subspace import SharedSubspace
from linearizer_core.operators.tall import triangular_factor

WINDOW_COLUMNS = 128
"""Columns of factors that are composed exactly before they are cut: more make larger matrices, fewer make more products of the results."""


def as_low_rank(operator: LinearOperator, dtype: torch.dtype) -> IdentityPlusLowRank | None:
    """``operator`` as a multiple of the identity plus low rank, exact to ``dtype``; None when its kind does not say that it is one."""
    if isinstance(operator, SharedSubspace):
        return operator.to(dtype).to_low_rank()
    if isinstance(operator, LowRank) and operator.shape[0] == operator.shape[1]:
        return IdentityPlusLowRank(0.0, operator.left, operator.right)
    if isinstance(operator, ScaledIdentity):
        nothing = operator.scale.new_empty(operator.dim, 0)
        return IdentityPlusLowRank(operator.scale, nothing, nothing)
    return operator if isinstance(operator, IdentityPlusLowRank) else None


def compose_windows(
    solver: Solver, steps: Steps, velocities: Sequence[IdentityPlusLowRank], *, rtol: float, dtype: torch.dtype
) -> Iterator[IdentityPlusLowRank]:
    """The steps as few operators, the first of them first, each cut to ``rtol``. ``velocities`` holds L at each of ``steps.times``."""
    columns = max(1, max(velocity.columns for velocity in velocities))
    one, two = (len(torch.unique(steps.index[:, :count])) for count in (1, 2))
    together = 1 + max(0, WINDOW_COLUMNS // columns - one) // max(1, two - one)
    for first in range(0, len(steps.ends), together):
        index = steps.index[:, first : first + together]
        used, positions = torch.unique(index, return_inverse=True)
        widths = [stop - start for start, stop in steps.ends[first : first + together]]
        yield _window(solver, [velocities[node].to(dtype) for node in used.tolist()], positions.T.tolist(), widths, rtol)


def _window(solver: Solver, velocities: Sequence[IdentityPlusLowRank], nodes: list[list[int]], widths: list[float], rtol: float) -> IdentityPlusLowRank:
    r"""With P and Q all factors side by side and :math:`G = Q^T P`, a product of steps is :math:`c I + P M Q^T`.

    A vector :math:`z = c z_0 + P y` is known by y, by :math:`q = Q^T z` and by c. On (y, q, c) a velocity :math:`\lambda I + P_j Q_j^T` acts as
    :math:`\lambda I + (e_j, G e_j, 0)(0, e_j, 0)^T`, where the columns of :math:`e_j` pick those of :math:`P_j` out of P. So the loop runs on small vectors.
    """
    left, right = _side_by_side([velocity.left for velocity in velocities]), _side_by_side([velocity.right for velocity in velocities])
    size = left.shape[1]
    one = torch.eye(size, dtype=left.dtype, device=left.device)
    gram = right.mT @ left
    small = []
    for velocity, picked in zip(velocities, torch.split(one, [velocity.columns for velocity in velocities], dim=1), strict=True):
        nothing = picked.new_zeros(size + 1, velocity.columns)
        small.append(IdentityPlusLowRank(velocity.scale, torch.cat([picked, gram @ picked, nothing[:1]]), torch.cat([nothing[1:], picked, nothing[:1]])))
    state = one.new_zeros(size + 1, 2 * size + 1)
    state[:, size:].fill_diagonal_(1)
    for step, width in zip(nodes, widths, strict=True):
        state = solver.advance([small[node] for node in step], state, width)
    return cut(state[-1, -1], left, state[:size, :size].mT, right, rtol)


def product(later: IdentityPlusLowRank, earlier: IdentityPlusLowRank, rtol: float) -> IdentityPlusLowRank:
    """``later @ earlier``, cut to ``rtol``."""
    left, right = _side_by_side([later.left, earlier.left]), _side_by_side([later.right, earlier.right])
    size = later.columns
    core = torch.eye(left.shape[1], dtype=left.dtype, device=left.device)
    core[:size, :size] *= earlier.scale
    core[size:, size:] *= later.scale
    core[:size, size:] = later.right.mT @ earlier.left
    return cut(later.scale * earlier.scale, left, core, right, rtol)


def cut(scale: Tensor, left: Tensor, core: Tensor, right: Tensor, rtol: float) -> IdentityPlusLowRank:
    r""":math:`c I + P M Q^T` without the singular values of :math:`P M Q^T` up to ``rtol`` times the largest of them.

    With :math:`P = Q_P R_P`, :math:`Q = Q_Q R_Q` and :math:`R_P M R_Q^T = X s Y^T` the new factors are :math:`P M R_Q^T Y s^{-1/2}` and
    :math:`Q M^T R_P^T X s^{-1/2}`: no orthonormal basis is formed, and small s spoil nothing, as they multiply what they divide.
    """
    outer, inner = (triangular_factor([part], part.dtype) for part in (left, right))
    small = outer @ core @ inner.mT
    if not bool(small.isfinite().all()):
        raise DivergedFlowError(
            "a product of solver steps has non-finite entries, expected finite ones: the flow grows out of range; end it earlier, or take more steps"
        )
    found, values, other = torch.linalg.svd(small.double(), full_matrices=False)
    kept = values > rtol * values[:1]
    root = values[kept].rsqrt()
    left_weights = core @ inner.mT @ (other.mT[:, kept] * root).to(core.dtype)
    right_weights = core.mT @ outer.mT @ (found[:, kept] * root).to(core.dtype)
    return IdentityPlusLowRank(scale, (left_weights.mT @ left.mT).mT, (right_weights.mT @ right.mT).mT)


def _side_by_side(parts: Sequence[Tensor]) -> Tensor:
    """Tall matrices as one, stored by columns: that is how factorisations take them."""
    return torch.cat([part.mT for part in parts]).mT
