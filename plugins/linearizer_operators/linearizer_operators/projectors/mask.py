"""Projectors onto coordinates."""

from __future__ import annotations

from typing import final

from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.operators import Diagonal, LinearOperator, Mask
from linearizer_operators.config import ProjectorConfig
from linearizer_operators.projectors.selection import Selection
from linearizer_operators.shapes import square_dim


@final
class MaskProjector(CoreOperator):
    r""":math:`A = \mathrm{diag}(m)` with m in {0, 1}, chosen by `Selection`.

    A learned mask is a `Diagonal` in training, so that gradients reach the logits, and a `Mask` in evaluation. Both have the values 0 and 1 exactly, so that
    f(f(x)) = f(x) (arXiv 2510.08570, idempotent networks).

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> import torch
        >>> from linearizer_operators.config import ProjectorConfig
        >>> MaskProjector((3, 3), ProjectorConfig(rank=2)).operator()(torch.ones(3))
        tensor([1., 1., 0.])
    """

    def __init__(self, shape: tuple[int, int], config: ProjectorConfig) -> None:
        super().__init__(shape)
        self.selection = Selection(square_dim(type(self).__name__, shape, config.rank or 1), config)

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        values = self.selection.values()
        return Diagonal(values) if self.training and self.selection.learned else Mask(self.selection.mask(), dtype=values.dtype)
