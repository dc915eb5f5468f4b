"""Two bijections side by side on one flat latent."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.base import Bijection
from linearizer_core.bijections.capabilities import adopt_weakest, merge_conditions
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError


@final
class DirectSum(Bijection):
    r""":math:`(g \oplus h)([u, w]) = [g(u), h(w)]`, u being the first ``first.dim`` coordinates of a flat latent.

    With ``second = Identity(...)`` it refines a few kept coordinates and leaves the rest alone.

    Arguments:
        first: acts on the first ``first.dim`` coordinates; flat on both sides.
        second: acts on the others; flat on both sides.

    Raises:
        BijectionError: when a part is not flat, or when the parts disagree about a condition.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine, Identity
        >>> both = DirectSum(FixedAffine((2,), shift=0.0, scale=10.0), Identity((1,)))
        >>> both(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[10., 20.,  3.]])
    """

    def __init__(self, first: Bijection, second: Bijection) -> None:
        for part in (first, second):
            if len(part.in_shape) != 1 or len(part.out_shape) != 1:
                raise BijectionError(
                    f"DirectSum: {type(part).__name__} maps {part.in_shape} to {part.out_shape}, expected flat shapes (D,) on both sides; "
                    "put Flatten in front of it"
                )
        parts = (first, second)
        super().__init__((first.dim + second.dim,), conditions=merge_conditions(parts))
        self.first = first
        self.second = second
        adopt_weakest(self, parts)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        u, w = self._split(x)
        return torch.cat([self.first(u, condition), self.second(w, condition)], 1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        u, w = self._split(z)
        return torch.cat([self.first.inverse(u, condition), self.second.inverse(w, condition)], 1)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        self.check_input(x)
        u, w = self._split(x)
        u, logdet_u = self.first.forward_and_logdet(u, condition)
        w, logdet_w = self.second.forward_and_logdet(w, condition)
        return torch.cat([u, w], 1), logdet_u + logdet_w

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        self.check_latent(z)
        u, w = self._split(z)
        u, logdet_u = self.first.inverse_and_logdet(u, condition)
        w, logdet_w = self.second.inverse_and_logdet(w, condition)
        return torch.cat([u, w], 1), logdet_u + logdet_w

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x[:, : self.first.dim], x[:, self.first.dim :]

    def _require_logdet(self) -> None:
        if not self.has_logdet:
            member = self.second if self.first.has_logdet else self.first
            raise LogDetUnavailableError(f"DirectSum: {type(member).__name__} has no log-determinant; likelihood losses need parts with has_logdet = True")
