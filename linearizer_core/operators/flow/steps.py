"""The steps of a grid, many at a time, with the times at which a solver evaluates them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.solvers import Solver
from linearizer_core.operators.shared_subspace import SharedSubspace

CHUNK_BYTES = 2**28
"""About as much memory is taken for the steps that are worked on at a time."""


@final
@dataclass(frozen=True)
class Steps:
    """Some consecutive steps: ``ends`` holds start and stop of each, ``times`` all times at which the solver evaluates, each once, increasing, and
    ``index`` ``(number of nodes, N)`` which of these times is which node of which step."""

    ends: list[tuple[float, float]]
    times: Tensor
    index: Tensor

    @property
    def widths(self) -> Tensor:
        """The widths of the steps, ``(N,)``, float64 on the CPU."""
        return torch.tensor([stop - start for start, stop in self.ends], dtype=torch.float64)


def in_chunks(solver: Solver, times: list[float], size: int) -> Iterator[Steps]:
    """All steps between ``times``, at most ``size`` at once."""
    ends = list(pairwise(times))
    for first in range(0, len(ends), size):
        chunk = ends[first : first + size]
        nodes = torch.tensor([solver.times(start, stop) for start, stop in chunk], dtype=torch.float64).T
        distinct, index = torch.unique(nodes, return_inverse=True)
        yield Steps(chunk, distinct, index)


def at_once(bytes_per_step: int) -> int:
    """How many steps are worked on at a time."""
    return max(1, CHUNK_BYTES // max(1, bytes_per_step))


def own_bytes(operator: LinearOperator) -> int:
    """The memory that one more operator of a flow takes; U and V of a subspace are shared by all."""
    tensors = [operator.core] if isinstance(operator, SharedSubspace) else operator.tensors().values()
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
