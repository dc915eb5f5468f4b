"""A bijection read backwards."""

from __future__ import annotations

from typing import final

from torch import Tensor

from linearizer_core.bijections.base import Bijection
from linearizer_core.bijections.memory.replay import GradientSums
from linearizer_core.condition import Condition
from linearizer_core.errors import SurjectivityError


@final
class Inverse(Bijection):
    r"""The view :math:`g^{-1}` of a bijection :math:`g`: shares all parameters, shapes exchanged.

    It declares the capabilities of ``bijection``: ``inverse_kind`` tells of the one direction that is costly. Bit exactness
    is the exception, since bits that survive :math:`g^{-1} \circ g` need not survive :math:`g \circ g^{-1}`.

    Arguments:
        bijection: the bijection to turn round.

    Raises:
        SurjectivityError: when it does not reach every latent: turned round, it would not be defined everywhere.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Flatten
        >>> Flatten((1, 2, 2)).inv(torch.zeros(3, 4)).shape
        torch.Size([3, 1, 2, 2])
    """

    def __init__(self, bijection: Bijection) -> None:
        if not bijection.surjective:
            raise SurjectivityError(
                f"Inverse of {type(bijection).__name__}: it reaches only part of its latents, expected surjective = True; call its inverse method instead"
            )
        super().__init__(bijection.out_shape, bijection.in_shape, conditions=bijection.conditions)
        self.bijection = bijection
        self.inverse_kind = bijection.inverse_kind
        self.inverse_grad = bijection.inverse_grad
        self.has_logdet = bijection.has_logdet

    @property
    def inv(self) -> Bijection:
        """The bijection itself."""
        return self.bijection

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.bijection.inverse(x, condition)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        result: Tensor = self.bijection(z, condition)
        return result

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse_and_logdet(x, condition)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward_and_logdet(z, condition)

    def pull_back(
        self, z: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        return self.bijection.pull_back_inverse(z, gradient, gradient_of_logdet, condition, sums)

    def pull_back_inverse(
        self, x: Tensor, gradient: Tensor, gradient_of_logdet: Tensor | None, condition: Condition | None, sums: GradientSums
    ) -> tuple[Tensor, Tensor]:
        return self.bijection.pull_back(x, gradient, gradient_of_logdet, condition, sums)
