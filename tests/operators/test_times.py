"""Matrices of many times: each time once."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.operators.times import apply_at_times


def test_equal_times_share_a_matrix() -> None:
    asked: list[int] = []

    def matrices(times: Tensor) -> Tensor:
        asked.append(len(times))
        return times[:, None, None] * torch.eye(2, 3, dtype=torch.float64)

    z = torch.randn(6, 3, dtype=torch.float64)
    for times, expected in (([1.0, 2.0, 1.0, 3.0, 2.0, 1.0], 3), ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 6)):
        t = torch.tensor(times, dtype=torch.float64)
        assert torch.equal(apply_at_times(matrices, z, t), t[:, None] * z[:, :2])
        assert asked.pop() == expected


def test_gradients_reach_every_time() -> None:
    t = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    z = torch.ones(3, 1, dtype=torch.float64)
    (slope,) = torch.autograd.grad(apply_at_times(lambda times: times[:, None, None] ** 2, z, t).sum(), t)
    assert slope.tolist() == [2.0, 2.0, 4.0]
