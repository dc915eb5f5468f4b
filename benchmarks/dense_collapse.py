r"""The published collapse, for comparison: step matrices of size D x D, multiplied out (Berman, Hallak, Shocher, arXiv 2510.08570).

Written from its mathematics. The velocity is :math:`L(t) = (A_t - I)/(1 - t)` with :math:`A_t = U(t) V(t)^T` made into a full matrix. One step of width h is

.. math:: S = I + (K_1 + 2 K_2 + 2 K_3 + K_4) / 6

and the collapse is the product of all S. RK4 nests its stages:

.. math:: K_1 = h L(t), \quad K_2 = h L(t + h/2)(I + K_1/2), \quad K_3 = h L(t + h/2)(I + K_2/2), \quad K_4 = h L(t + h)(I + K_3)

The published collapse leaves the brackets out: :math:`K_2 = K_3 = h L(t + h/2)`, :math:`K_4 = h L(t + h)`. That is Simpson's rule for the integral of L, and
of first order only. It needs one product of matrices a step where RK4 needs four.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from linearizer_core.operators import LinearOperator, LowRank, SharedSubspace

OperatorAt = Callable[[float], LinearOperator]


def end_point_matrix(operator: LinearOperator) -> Tensor:
    """A_t as a full matrix, ``(D, D)``, whatever its size."""
    if isinstance(operator, LowRank):
        return operator.left @ operator.right.mT
    assert isinstance(operator, SharedSubspace)
    return operator.left @ operator.core @ operator.right.mT


@torch.no_grad()
def dense_collapse(operator_at: OperatorAt, times: list[float], *, nested: bool) -> Tensor:
    """The product of all step matrices over ``times``, ``(D, D)`` in the dtype of A_t: of RK4 where ``nested``, as published where not."""
    first = operator_at(times[0])
    product = torch.eye(first.shape[0], dtype=first.dtype, device=first.device)
    for start, stop in pairwise(times):
        product = _step(operator_at, start, stop, nested) @ product
    return product


@torch.no_grad()
def unnested_loop(operator_at: OperatorAt, z: Tensor, times: list[float]) -> Tensor:
    """The published steps one after another on ``z`` of shape ``(B, D)``: what their product does, without a D x D matrix."""
    for start, stop in pairwise(times):
        width, middle = stop - start, start + (stop - start) / 2
        first, half, last = (width / (1 - t) * (operator_at(t)(z) - z) for t in (start, middle, stop))
        z = z + (first + 4 * half + last) / 6
    return z


def _step(operator_at: OperatorAt, start: float, stop: float, nested: bool) -> Tensor:
    width, middle = stop - start, start + (stop - start) / 2
    first, half, last = (_scaled_velocity(operator_at, t, width) for t in (start, middle, stop))
    if not nested:
        step = half.mul_(4).add_(first).add_(last).div_(6)
    else:
        second = torch.addmm(half, half, first, alpha=0.5)
        third = torch.addmm(half, half, second, alpha=0.5)
        fourth = torch.addmm(last, last, third)
        step = second.add_(third).mul_(2).add_(first).add_(fourth).div_(6)
    step.diagonal().add_(1)
    return step


def _scaled_velocity(operator_at: OperatorAt, t: float, width: float) -> Tensor:
    """``h L(t)``, in place: nothing here is slower than it must be."""
    matrix = end_point_matrix(operator_at(t))
    matrix.diagonal().sub_(1)
    return matrix.mul_(width / (1 - t))
