"""Two bijections on two parts of the channels, and one flat latent of both."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.base import Bijection
from linearizer_core.bijections.capabilities import adopt_weakest, merge_conditions
from linearizer_core.bijections.memory.replay import GradientSums
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError


@final
class SplitMerge(Bijection):
    r""":math:`z = [g(x_a), h(x_b)]`, the channels of x being split into :math:`x_a` (leading) and :math:`x_b`, both latents flattened.

    The multi-scale brick of Dinh et al., arXiv 1605.08803: g squeezes further, h is the identity on the part that leaves. Nested, it gives one flat latent
    ``(D,)`` with the coarsest level first. Conditions are those of both parts; capabilities are those of the weaker part.

    Arguments:
        leading: g, on the leading channels.
        trailing: h, on the channels after them; its ``in_shape`` differs from that of g in the first dimension alone.

    Raises:
        BijectionError: when the input shapes do not fit side by side, or when the parts disagree about a condition.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine, Identity
        >>> both = SplitMerge(FixedAffine((1, 1, 2), shift=0.0, scale=10.0), Identity((2, 1, 2)))
        >>> both(torch.arange(6.0).reshape(1, 3, 1, 2))
        tensor([[ 0., 10.,  2.,  3.,  4.,  5.]])
    """

    def __init__(self, leading: Bijection, trailing: Bijection) -> None:
        if leading.in_shape[1:] != trailing.in_shape[1:]:
            raise BijectionError(
                f"SplitMerge: {type(leading).__name__} takes {leading.in_shape}, {type(trailing).__name__} takes {trailing.in_shape}; "
                "expected shapes that differ in the number of channels alone"
            )
        parts = (leading, trailing)
        # Known before the base class checks sizes: only a map that is not onto may have the longer latent.
        adopt_weakest(self, parts)
        super().__init__(
            (leading.in_shape[0] + trailing.in_shape[0], *leading.in_shape[1:]),
            (sum(math.prod(part.out_shape) for part in parts),),
            conditions=merge_conditions(parts),
        )
        self.leading = leading
        self.trailing = trailing

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        x_a, x_b = self._split_input(x)
        return torch.cat([self.leading(x_a, condition).flatten(1), self.trailing(x_b, condition).flatten(1)], 1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        z_a, z_b = self._split_latent(z)
        return torch.cat([self.leading.inverse(z_a, condition), self.trailing.inverse(z_b, condition)], 1)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        x_a, x_b = self._split_input(x)
        z_a, logdet_a = self.leading.forward_and_logdet(x_a, condition)
        z_b, logdet_b = self.trailing.forward_and_logdet(x_b, condition)
        return torch.cat([z_a.flatten(1), z_b.flatten(1)], 1), logdet_a + logdet_b

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        z_a, z_b = self._split_latent(z)
        x_a, logdet_a = self.leading.inverse_and_logdet(z_a, condition)
        x_b, logdet_b = self.trailing.inverse_and_logdet(z_b, condition)
        return torch.cat([x_a, x_b], 1), logdet_a + logdet_b

    def pull_back(
        self, z: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        (z_a, z_b), (gradient_a, gradient_b) = self._split_latent(z), self._split_latent(gradient)
        x_a, gradient_a = self.leading.pull_back(z_a, gradient_a, gradient_of_logdet, condition, sums)
        x_b, gradient_b = self.trailing.pull_back(z_b, gradient_b, gradient_of_logdet, condition, sums)
        return torch.cat([x_a, x_b], 1), torch.cat([gradient_a, gradient_b], 1)

    def pull_back_inverse(
        self, x: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        (x_a, x_b), (gradient_a, gradient_b) = self._split_input(x), self._split_input(gradient)
        z_a, gradient_a = self.leading.pull_back_inverse(x_a, gradient_a, gradient_of_logdet, condition, sums)
        z_b, gradient_b = self.trailing.pull_back_inverse(x_b, gradient_b, gradient_of_logdet, condition, sums)
        return torch.cat([z_a.flatten(1), z_b.flatten(1)], 1), torch.cat([gradient_a.flatten(1), gradient_b.flatten(1)], 1)

    def _split_input(self, x: Tensor) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        channels = self.leading.in_shape[0]
        return x[:, :channels], x[:, channels:]

    def _split_latent(self, z: Tensor) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        size = math.prod(self.leading.out_shape)
        return z[:, :size].reshape(len(z), *self.leading.out_shape), z[:, size:].reshape(len(z), *self.trailing.out_shape)

    def _require_logdet(self) -> None:
        if not self.has_logdet:
            member = self.trailing if self.leading.has_logdet else self.leading
            raise LogDetUnavailableError(f"SplitMerge: {type(member).__name__} has no log-determinant; likelihood losses need parts with has_logdet = True")
