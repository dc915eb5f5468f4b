"""For each check of a linear operator one that is wrong in just that respect."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from linearizer_core.operators import Dense, LinearOperator, Mask
from linearizer_core.operators.base import SVD, Scalar
from linearizer_core.testing import OperatorSubject


class Plain(LinearOperator):
    """Right: a matrix."""

    kind: ClassVar[str] = "plain"
    fields: ClassVar[tuple[str, ...]] = ("matrix",)

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.matrix.shape
        return rows, columns

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def T(self) -> LinearOperator:
        return type(self)(self.matrix.mT)

    def _apply(self, z: Tensor) -> Tensor:
        return z @ self.matrix.mT

    def _scale(self, factor: Scalar) -> LinearOperator:
        return type(self)(self.matrix * factor)


class NotLinear(Plain):
    def _apply(self, z: Tensor) -> Tensor:
        return super()._apply(z + 0.1 * (z - 3).relu())


class OwnTranspose(Plain):
    @property
    def T(self) -> LinearOperator:
        return self


class TransposedMatrix(Plain):
    def to_dense(self) -> Tensor:
        return self.matrix.mT


class LosesTheSign(Plain):
    def _scale(self, factor: Scalar) -> LinearOperator:
        return type(self)(self.matrix * abs(factor))


class WrongFactors(Plain):
    def svd(self) -> SVD:
        found = super().svd()
        return SVD(found.left, found.values, found.left)


class WrongPseudoInverse(Plain):
    def pinv(self, rtol: float | None = None) -> LinearOperator:
        return self.T


class WrongInverse(Plain):
    def inverse(self) -> LinearOperator:
        return self.T


class WrongCube(Plain):
    def power(self, n: float) -> LinearOperator:
        return super().power(2 if n == 3 else n)


class WrongExponential(Plain):
    def expm(self, t: float = 1.0) -> LinearOperator:
        return super().expm()


class OneTimeForAll(Plain):
    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        return super()._evolve(z, t[:1].expand_as(t))


class RoundedMask(Mask):
    def _apply(self, z: Tensor) -> Tensor:
        return super()._apply(z) * (1 + 2.0**-52)


class HiddenPart(Plain):
    def __init__(self, matrix: Tensor, factor: float = 1.0) -> None:
        super().__init__(matrix)
        self.factor = factor

    def _apply(self, z: Tensor) -> Tensor:
        return self.factor * super()._apply(z)

    @property
    def T(self) -> LinearOperator:
        return HiddenPart(self.matrix.mT, self.factor)

    def _scale(self, factor: Scalar) -> LinearOperator:
        return HiddenPart(self.matrix * factor, self.factor)


class AlwaysFloat64(Plain):
    def _apply(self, z: Tensor) -> Tensor:
        return super()._apply(z).double()


class Detached(Plain):
    def _apply(self, z: Tensor) -> Tensor:
        return z @ self.matrix.detach().mT


class ChangesItself(Plain):
    def pinv(self, rtol: float | None = None) -> LinearOperator:
        found = super().pinv(rtol)
        self.matrix.neg_()
        return found


class TakesAnything(Plain):
    def __call__(self, z: Tensor) -> Tensor:
        return super().__call__(z[..., : self.shape[1]])


def subject(kind: Any) -> OperatorSubject:
    return OperatorSubject(kind(torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)))


RIGHT = subject(Plain)

WRONG = {
    "linearity": subject(NotLinear),
    "adjoint": subject(OwnTranspose),
    "dense": subject(TransposedMatrix),
    "algebra": subject(LosesTheSign),
    "svd": subject(WrongFactors),
    "penrose": subject(WrongPseudoInverse),
    "inverse": subject(WrongInverse),
    "power": subject(WrongCube),
    "semigroup": subject(WrongExponential),
    "evolve": subject(OneTimeForAll),
    "mask-idempotence": OperatorSubject(RoundedMask(torch.tensor([True, False, True]), dtype=torch.float64)),
    "storage": subject(lambda matrix: HiddenPart(matrix, 2.0)),
    "dtypes": subject(AlwaysFloat64),
    "gradients": subject(Detached),
    "immutability": subject(ChangesItself),
    "refuses-wrong-shapes": subject(TakesAnything),
}

ALSO = {
    "semigroup": {"evolve"},  # a row at a time is the same exponential
    "linearity": {"power"},  # A A^T has entries above 3
    "adjoint": {"algebra"},  # A A^T again
    "inverse": {"power"},  # of negative exponents
    "mask-idempotence": {"storage"},  # a file knows no other mask
    "storage": {"dtypes"},  # another dtype is another object with the same tensors
}


class _AcceptsSingular(Plain):
    def inverse(self) -> LinearOperator:
        return Dense(torch.linalg.pinv(self.matrix))


class _LeftOver(Plain):
    def rank(self, rtol: float | None = None) -> int:
        return 1


MORE = [
    ("inverse", OperatorSubject(_AcceptsSingular(torch.ones(3, 3, dtype=torch.float64))), "singular operator is accepted, expected SingularOperatorError"),
    ("svd", subject(_LeftOver), r"rank\(\) is 1, the matrix has rank 4"),
    ("linearity", OperatorSubject(torch.eye(3), title="tensor"), "the target is a Tensor, expected"),
]
