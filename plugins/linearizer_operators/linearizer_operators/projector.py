"""Projectors onto coordinates: the core of idempotent networks."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.condition import Condition
from linearizer_core.core_operator import CoreOperator
from linearizer_core.operators import Diagonal, LinearOperator, Mask
from linearizer_operators.config import ProjectorConfig
from linearizer_operators.shapes import square_dim


@final
class ProjectorCore(CoreOperator):
    r""":math:`A = \mathrm{diag}(m)`, m in {0, 1}: the first ``rank`` coordinates, or :math:`m = \mathrm{round}(\sigma(l))` with learned logits l.

    A learned mask is a `Diagonal` in training, with the gradient of :math:`\sigma` in place of that of the rounding (straight-through, arXiv 1308.3432),
    and a `Mask` in evaluation. Both have the values 0 and 1 exactly, so that f(f(x)) = f(x) (arXiv 2510.08570, idempotent networks).

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.

    Example:
        >>> import torch
        >>> from linearizer_operators.config import ProjectorConfig
        >>> ProjectorCore((3, 3), ProjectorConfig(rank=2)).operator()(torch.ones(3))
        tensor([1., 1., 0.])
    """

    mask: Tensor

    def __init__(self, shape: tuple[int, int], config: ProjectorConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(shape)
        self.dim = square_dim(type(self).__name__, shape, config.rank or 1)
        self.learned = config.rank is None
        if config.rank is None:
            self.logits = nn.Parameter(config.logit_mean + config.logit_std * torch.randn(self.dim))
        else:
            self.register_buffer("mask", (torch.arange(self.dim) < config.rank).to(torch.get_default_dtype()))

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        if not self.learned:
            return Mask(self.mask > 0, dtype=self.mask.dtype)
        if not self.training:
            return Mask(self.logits.detach() > 0, dtype=self.logits.dtype)
        soft = self.logits.sigmoid()
        return Diagonal((self.logits > 0).to(soft.dtype) + (soft - soft.detach()))

    def extra_repr(self) -> str:
        return f"{self.dim}, {'learned' if self.learned else f'rank={int(self.mask.sum())}'}"
