"""Projectors onto coordinates of a rotated space."""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.operators import LinearOperator, RotatedDiagonal
from linearizer_operators.config import ProjectorConfig
from linearizer_operators.projectors.selection import Selection
from linearizer_operators.shapes import square_dim


@final
class RotatedProjector(CoreOperator):
    r""":math:`A = Q\,\mathrm{diag}(m)\,Q^T` with m in {0, 1} chosen by `Selection` and Q a product of k learned Householder reflections.

    An orthogonal projector onto a subspace that need not lie along coordinates. Its square has the same d and the same Q; applied twice it differs by rounding.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> import torch
        >>> from linearizer_operators.config import ProjectorConfig
        >>> p = RotatedProjector((8, 8), ProjectorConfig(form="rotated", rank=2)).operator()
        >>> (p @ p).rank(), torch.equal((p @ p).to_dense(), p.to_dense())
        (2, True)
    """

    def __init__(self, shape: tuple[int, int], config: ProjectorConfig) -> None:
        super().__init__(shape)
        dim = square_dim(type(self).__name__, shape, config.rank or 1)
        self.selection = Selection(dim, config)
        self.vectors = nn.Parameter(torch.randn(config.reflections, dim))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return RotatedDiagonal(self.vectors, self.selection.values())
