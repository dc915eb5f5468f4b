"""More channels than the data have."""

from __future__ import annotations

from typing import final

from torch import Tensor
from torch.nn import functional

from linearizer_core.bijections.base import Bijection, Shape
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


@final
class ZeroPadding(Bijection):
    r""":math:`z = [x, 0]` along the first dimension: injective, not onto, so not a bijection of the padded space (``surjective = False``).

    It makes a network wider than its data, as in the injective i-RevNet of Jacobsen et al., arXiv 1802.07088. ``inverse`` drops the added channels: it is
    a left inverse, :math:`g^{-1}(g(x)) = x` to the bit, while :math:`g(g^{-1}(z)) = z` for the z with zeros there alone. So a network that contains it has
    no log-determinant and induces no vector space.

    Arguments:
        in_shape: shape of one example; channels lie along its first dimension.
        channels: number of channels to add, at least 1.

    Raises:
        BijectionError: when ``channels`` is less than 1.

    Example:
        >>> import torch
        >>> padding = ZeroPadding((2,), channels=1)
        >>> padding(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2., 0.]])
        >>> padding.inverse(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[1., 2.]])
    """

    bit_exact = True
    surjective = False

    def __init__(self, in_shape: Shape, *, channels: int) -> None:
        if channels < 1:
            raise BijectionError(f"ZeroPadding: {channels} channels to add, expected at least 1; leave it out where nothing is to be added")
        super().__init__(in_shape, (in_shape[0] + channels, *in_shape[1:]))
        self.channels = channels

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return functional.pad(x, (0, 0) * (x.ndim - 2) + (0, self.channels))

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        return z[:, : self.in_shape[0]]
