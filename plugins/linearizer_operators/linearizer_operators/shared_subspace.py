"""A core on one learned subspace, regular up to the end of the flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import full_precision
from linearizer_core.cores import TimeDependentCore
from linearizer_core.operators import LinearOperator, SharedSubspace
from linearizer_core.operators.flow import TERMINALS, Flow, SubspaceFlow, Terminal
from linearizer_operators.config import SharedSubspaceConfig
from linearizer_operators.shapes import square_dim
from linearizer_operators.time_network import TimeNetwork


@final
class SharedSubspaceCore(TimeDependentCore):
    r""":math:`A_t = U C(t) V^T` with learned U, V of shape ``(D, R)``, in the form :math:`V^T U C(t) = I + (1-t) K(t)` with K from a network of t.

    In that form nothing is singular at t = 1: :math:`q = V^T z` obeys :math:`\dot q = K(t) q`, and the rest shrinks by exactly :math:`(1-b)/(1-a)` over [a, b].
    With the terminal rule "limit" every solver integrates K alone, up to t = 1. All solvers collapse in R dimensions (arXiv 2510.08570 multiplies
    D x D matrices). At the start K is zero and A_t the orthogonal projector onto the span of U = V. Conditions enter K.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> from linearizer_operators.config import SharedSubspaceConfig
        >>> core = SharedSubspaceCore((8, 8), SharedSubspaceConfig(rank=3))
        >>> core.one_step().rank(), core.one_step(terminal="early").rank()
        (3, 8)
    """

    terminals: ClassVar[tuple[Terminal, ...]] = TERMINALS
    default_solver: ClassVar[str] = "magnus4"
    default_terminal: ClassVar[Terminal] = "limit"

    def __init__(self, shape: tuple[int, int], config: SharedSubspaceConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(square_dim(type(self).__name__, shape, config.rank), conditions=conditions)
        self.rank = config.rank
        basis, _ = torch.linalg.qr(torch.randn(self.dim, self.rank))
        self.left = nn.Parameter(basis)
        self.right = nn.Parameter(basis.clone())
        self.network = TimeNetwork(self.rank**2, width=config.width, frequencies=config.frequencies, categories=conditions)
        nn.init.zeros_(self.network.output.weight)
        nn.init.zeros_(self.network.output.bias)

    def at(self, t: float) -> LinearOperator:
        return self.at_times(torch.tensor([t], dtype=torch.float64))[0]

    def at_times(self, times: Tensor) -> Sequence[LinearOperator]:
        gram, generators = self._gram(), self._generators(times)
        one = torch.eye(self.rank, dtype=gram.dtype, device=gram.device)
        cores = torch.linalg.solve(gram, one + (1 - times.to(gram))[:, None, None] * generators)
        return [SharedSubspace(0.0, self.left, core, self.right, gram) for core in cores]

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        self.check_batch(z, t)
        generator = self.network(t, self.condition).to(z.dtype).view(-1, self.rank, self.rank)
        with full_precision(z):
            q = z @ self.right  # (B, R)
            advanced = q + (1 - t)[:, None] * torch.einsum("bij,bj->bi", generator, q)
            coordinates: Tensor = torch.linalg.solve(self._gram(), advanced.mT).mT
            return coordinates @ self.left.mT

    def flow(self, terminal: Terminal = "early") -> Flow:
        self.check_terminal(terminal)
        return SubspaceFlow(self.left, self.right, self._generators, regular=terminal == "limit")

    def extra_repr(self) -> str:
        return f"{self.dim}, rank={self.rank}"

    def _gram(self) -> Tensor:
        return self.right.mT @ self.left

    def _generators(self, times: Tensor) -> Tensor:
        """K at ``times``, ``(N, R, R)``."""
        return self.network.at_times(times, self.condition).view(-1, self.rank, self.rank)
