"""The published core: a low-rank operator whose factors are networks of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections import full_precision
from linearizer_core.cores import TimeDependentCore
from linearizer_core.operators import LinearOperator, LowRank
from linearizer_operators.config import LowRankConfig
from linearizer_operators.shapes import square_dim
from linearizer_operators.time_network import TimeNetwork


@final
class LowRankCore(TimeDependentCore):
    r""":math:`A_t = U(t) V(t)^T` of rank r, both factors from one network of t and of the conditions (arXiv 2510.08570). Starts near an orthogonal projector.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> from linearizer_operators.config import LowRankConfig
        >>> LowRankCore((6, 6), LowRankConfig(rank=2, width=8)).at(0.3)
        LowRank(6 x 6, float32)
    """

    def __init__(self, shape: tuple[int, int], config: LowRankConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(square_dim(type(self).__name__, shape, config.rank), conditions=conditions)
        self.rank = config.rank
        self.network = TimeNetwork(2 * self.dim * self.rank, width=config.width, frequencies=config.frequencies, categories=conditions)
        # Both factors start as one orthonormal basis plus a part of equal size that varies with t.
        basis, _ = torch.linalg.qr(torch.randn(self.dim, self.rank))
        nn.init.normal_(self.network.output.weight, std=(config.width * self.dim) ** -0.5)
        with torch.no_grad():
            self.network.output.bias.copy_(torch.cat([basis.flatten(), basis.flatten()]))

    def at(self, t: float) -> LinearOperator:
        return self.at_times(torch.tensor([t], dtype=torch.float64))[0]

    def at_times(self, times: Tensor) -> Sequence[LinearOperator]:
        factors = self.network.at_times(times, self.condition).view(-1, 2, self.dim, self.rank)
        return [LowRank(left, right) for left, right in factors]

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        self.check_batch(z, t)
        left, right = self.network(t, self.condition).to(z.dtype).view(-1, 2, self.dim, self.rank).unbind(1)  # (B, D, r) each
        with full_precision(z):
            inner = torch.einsum("bdr,bd->br", right, z)
            return torch.einsum("bdr,br->bd", left, inner)

    def extra_repr(self) -> str:
        return f"{self.dim}, rank={self.rank}"
