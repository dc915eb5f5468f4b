"""Functions of many times, each computed once and applied to the rows that ask for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def apply_at_times(function: Callable[[Tensor], Tensor], z: Tensor, t: Tensor) -> Tensor:
    """``function(t[i]) @ z[i]`` for rows ``z`` ``(N, n)`` and times ``t`` ``(N,)``, giving ``(N, m)``.

    ``function`` maps K times to K matrices ``(K, m, n)``. It is asked for the times that differ, so a grid that many trajectories share costs as many
    matrices as it has times. Times with a gradient are all taken to differ.
    """
    if t.requires_grad:
        return _each(function(t), z)
    times, which, counts = torch.unique(t, return_inverse=True, return_counts=True)
    if len(times) == len(t):
        return _each(function(t), z)
    order = which.argsort(stable=True)
    groups = torch.split(z[order], counts.tolist())
    found = torch.cat([rows @ matrix.mT for rows, matrix in zip(groups, function(times), strict=True)])
    return found[order.argsort()]


def _each(matrices: Tensor, z: Tensor) -> Tensor:
    return (matrices @ z[..., None])[..., 0]
