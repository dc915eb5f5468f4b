"""A core on one learned subspace, regular up to the end of the flow."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import full_precision
from linearizer_core.core_operator import TimeDependentCore
from linearizer_core.operators import LinearOperator, SharedSubspace
from linearizer_core.operators.flow import VelocityAt, collapse, integrate, velocity_operator
from linearizer_core.operators.matrix_functions import expm
from linearizer_operators.config import SharedSubspaceConfig
from linearizer_operators.shapes import square_dim
from linearizer_operators.time_network import TimeNetwork

_GAUSS = math.sqrt(3) / 6


@final
class SharedSubspaceCore(TimeDependentCore):
    r""":math:`A_t = U C(t) V^T` with learned U, V of shape ``(D, R)``, in the form :math:`V^T U C(t) = I + (1-t) K(t)` with K from a network of t.

    In that form nothing is singular at t = 1: :math:`q = V^T z` obeys :math:`\dot q = K(t) q`, and the rest shrinks by exactly :math:`(1-b)/(1-a)` over [a, b].
    Runge-Kutta solvers collapse in R dimensions (arXiv 2510.08570 multiplies D x D matrices); "magnus4" integrates K itself, up to t = 1.
    At the start K is zero and A_t the orthogonal projector onto the span of U = V.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> from linearizer_core.operators.flow import uniform_grid
        >>> from linearizer_operators.config import SharedSubspaceConfig
        >>> core = SharedSubspaceCore((8, 8), SharedSubspaceConfig(rank=3))
        >>> core.propagator(uniform_grid(16, stop=1.0), "magnus4").rank()
        3
    """

    def __init__(self, shape: tuple[int, int], config: SharedSubspaceConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(square_dim(type(self).__name__, shape, config.rank))
        self.rank = config.rank
        basis, _ = torch.linalg.qr(torch.randn(self.dim, self.rank))
        self.left = nn.Parameter(basis)
        self.right = nn.Parameter(basis.clone())
        self.network = TimeNetwork(self.rank**2, width=config.width, frequencies=config.frequencies)
        nn.init.zeros_(self.network.output.weight)
        nn.init.zeros_(self.network.output.bias)

    def at(self, t: float) -> LinearOperator:
        return self._at(t, self._gram())

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        self.check_batch(z, t)
        generator = self.network(t).to(z.dtype).view(-1, self.rank, self.rank)
        with full_precision(z):
            q = z @ self.right  # (B, R)
            advanced = q + (1 - t)[:, None] * torch.einsum("bij,bj->bi", generator, q)
            coordinates: Tensor = torch.linalg.solve(self._gram(), advanced.mT).mT
            return coordinates @ self.left.mT

    @torch.no_grad()
    def propagator(self, grid: Tensor, solver: str = "euler", *, rtol: float = 1e-12) -> LinearOperator:
        times = self.check_flow(grid, solver)
        if solver != "magnus4":
            return collapse(self._velocity(), grid, solver, rtol=rtol)
        flow = torch.eye(self.rank, dtype=torch.float64, device=self.left.device)
        for start, stop in pairwise(times):
            flow = self._flow_inside(start, stop) @ flow
        return self._assemble((1 - times[-1]) / (1 - times[0]), flow, torch.float64)

    def integrate(self, z: Tensor, grid: Tensor, solver: str = "euler") -> Tensor:
        times = self.check_flow(grid, solver)
        if solver != "magnus4":
            return integrate(self._velocity(), z, grid, solver)
        for start, stop in pairwise(times):
            z = self._assemble((1 - stop) / (1 - start), self._flow_inside(start, stop), z.dtype)(z)
        return z

    def extra_repr(self) -> str:
        return f"{self.dim}, rank={self.rank}"

    def _gram(self) -> Tensor:
        return self.right.mT @ self.left

    def _generator(self, t: float) -> Tensor:
        return self.network.at(t).view(self.rank, self.rank)

    def _at(self, t: float, gram: Tensor) -> LinearOperator:
        inside = torch.eye(self.rank, dtype=gram.dtype, device=gram.device) + (1 - t) * self._generator(t)
        return SharedSubspace(0.0, self.left, torch.linalg.solve(gram, inside), self.right, gram)

    def _velocity(self) -> VelocityAt:
        """`velocity_at` with V^T U, the only part that costs more than R dimensions, formed once."""
        gram = self._gram()
        return lambda t: velocity_operator(self._at(t, gram), t)

    def _flow_inside(self, start: float, stop: float) -> Tensor:
        """The flow of q over one interval by the fourth-order Magnus integrator, ``(R, R)`` in float64."""
        width = stop - start
        first, second = (self._generator(start + (0.5 + sign * _GAUSS) * width).double() for sign in (-1, 1))
        return expm(width / 2 * (first + second) + math.sqrt(3) / 12 * width**2 * (second @ first - first @ second))

    def _assemble(self, shrink: float, flow: Tensor, dtype: torch.dtype) -> LinearOperator:
        r""":math:`c I + U (V^T U)^{-1} (\Phi - c I) V^T`, which is :math:`\Phi` on q and c on the rest."""
        left, right = self.left.to(dtype), self.right.to(dtype)
        gram = right.mT @ left
        inside = flow.to(dtype) - shrink * torch.eye(self.rank, dtype=dtype, device=gram.device)
        return SharedSubspace(shrink, left, torch.linalg.solve(gram, inside), right, gram)
