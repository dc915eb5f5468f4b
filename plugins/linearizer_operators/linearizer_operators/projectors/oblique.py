"""Projectors along directions that are not orthogonal to what they keep."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.operators import LinearOperator, LowRank
from linearizer_operators.config import ProjectorConfig
from linearizer_operators.shapes import square_dim


@final
class ObliqueProjector(CoreOperator):
    r""":math:`A = \begin{pmatrix} I & K \\ 0 & 0 \end{pmatrix}`: keeps the first r coordinates u and adds to them what K makes of the others, u + K w.

    Up to a change of coordinates every projector of rank r has this form; K = 0, where training begins, is the orthogonal one. Applied twice it gives the same
    bits: u + K w passes through the identity, and K meets zeros.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> import torch
        >>> from linearizer_operators.config import ProjectorConfig
        >>> p, z = ObliqueProjector((4, 4), ProjectorConfig(form="oblique", rank=1)).operator(), torch.ones(4)
        >>> p(z), torch.equal(p(p(z)), p(z))
        (tensor([1., 0., 0., 0.], grad_fn=...), True)
    """

    def __init__(self, shape: tuple[int, int], config: ProjectorConfig) -> None:
        super().__init__(shape)
        self.rank = config.rank or 1
        dim = square_dim(type(self).__name__, shape, self.rank)
        self.mixing = nn.Parameter(torch.zeros(self.rank, dim - self.rank))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        own = torch.eye(self.rank, dtype=self.mixing.dtype, device=self.mixing.device)
        return LowRank(torch.cat([own, torch.zeros_like(self.mixing.mT)]), torch.cat([own, self.mixing.mT]))
