"""Operators of low rank."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError, UndefinedPowerError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.matrix_functions import real_power, reciprocal_above
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.tall import triangular_factor


@final
class LowRank(LinearOperator):
    r""":math:`U V^T` with ``left`` U of shape ``(m, k)`` and ``right`` V of shape ``(n, k)``. Every product with it is of low rank again.

    With :math:`G = V^T U` powers are :math:`U G^{p-1} V^T` and the exponential is :math:`I + t U \varphi_1(tG) V^T`.

    Raises:
        ShapeMismatchError: when the factors do not have the same number of columns.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import LowRank
        >>> a = LowRank(torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [1.0], [1.0]]))
        >>> a(torch.tensor([1.0, 2.0, 3.0])), (a.T @ a).shape
        (tensor([ 6., 12.]), (3, 3))
    """

    kind: ClassVar[str] = "low_rank"
    fields: ClassVar[tuple[str, ...]] = ("left", "right")

    def __init__(self, left: Tensor, right: Tensor) -> None:
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
            raise ShapeMismatchError(f"LowRank: left {tuple(left.shape)} and right {tuple(right.shape)}, expected (m, k) and (n, k)")
        self.left = left
        self.right = right

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.left), len(self.right)

    @property
    def columns(self) -> int:
        """k, a bound of the rank."""
        return self.left.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.left.dtype

    @property
    def device(self) -> torch.device:
        return self.left.device

    @property
    def T(self) -> LowRank:
        return LowRank(self.right, self.left)

    def compress(self, rtol: float = 1e-12) -> LowRank:
        """The same operator with orthogonal factors, without the singular values up to ``rtol`` times the largest."""
        found = _factored_svd(self.left.double(), self.right.double())
        kept = found.values > rtol * found.largest
        return LowRank(found.left[:, kept] * found.values[kept], found.right[:, kept]).to(self.dtype)

    def _apply(self, z: Tensor) -> Tensor:
        return (z @ self.right) @ self.left.mT

    def _scale(self, factor: Scalar) -> LowRank:
        return LowRank(self.left * factor, self.right)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, LowRank) and other.columns < self.columns:
            return other._rmatmul(self)
        return LowRank(self.left, other.T._apply(self.right.mT).mT)

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return LowRank(other._apply(self.left.mT).mT, self.right)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank

        if isinstance(other, LowRank):
            return LowRank(torch.cat([self.left, other.left], dim=1), torch.cat([self.right, other.right], dim=1))
        if isinstance(other, ScaledIdentity):
            return self if other.is_exactly(0) else IdentityPlusLowRank(other.scale, self.left, self.right)
        return None

    def inverse(self) -> LinearOperator:
        self._require_square("inverse")
        if self.columns < len(self.left):
            raise SingularOperatorError(f"inverse of {self!r} of rank {self.columns} at most, expected full rank; use pinv")
        return super().inverse()

    def pinv(self, rtol: float | None = None) -> LowRank:
        found = self._svd()
        return LowRank(found.right * reciprocal_above(found.values, self._relative_tolerance(rtol) * found.largest), found.left).to(self.dtype)

    def trace(self) -> Tensor:
        self._require_square("trace")
        return (self.left * self.right).sum()

    def expm(self, t: float = 1.0) -> LinearOperator:
        from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank

        self._require_square("expm")
        return IdentityPlusLowRank(0.0, self.left, self.right).expm(t)

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank

        return IdentityPlusLowRank(0.0, self.left, self.right)._evolve(z, t)

    def _integer_power(self, n: int) -> LowRank:
        return LowRank(self.left @ torch.linalg.matrix_power(self.right.mT @ self.left, n - 1), self.right)

    def _real_power(self, exponent: float) -> LinearOperator:
        if exponent < 0:
            return self.inverse().power(-exponent)
        compact = self.to(torch.float64).compress(self._precision)
        try:
            middle = real_power(compact.right.mT @ compact.left, exponent - 1, self._precision)
        except SingularOperatorError as error:
            raise UndefinedPowerError(f"power {exponent} of {self!r}: 0 is a defective eigenvalue, expected a semisimple one; use an integer power") from error
        return LowRank(compact.left @ middle, compact.right).to(self.dtype)

    def _dense(self) -> Tensor:
        return self.left @ self.right.mT

    def _svd(self) -> SVD:
        return _factored_svd(self.left.double(), self.right.double())

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        outer, inner = (triangular_factor([part], torch.float64) for part in (self.left, self.right))
        values = torch.linalg.svdvals(outer @ inner.mT)
        padded = torch.cat([values, values.new_zeros(1)])
        multiplicities = torch.ones_like(padded, dtype=torch.int64)
        multiplicities[-1] = min(self.shape) - len(values)
        return padded[multiplicities > 0], multiplicities[multiplicities > 0]

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps * max(1, min(self.columns, *self.shape))


def _factored_svd(left: Tensor, right: Tensor) -> SVD:
    left_basis, left_core = torch.linalg.qr(left)
    right_basis, right_core = torch.linalg.qr(right)
    inner_left, values, inner_right = torch.linalg.svd(left_core @ right_core.mT, full_matrices=False)
    tail_multiplicity = min(len(left), len(right)) - len(values)
    return SVD(left_basis @ inner_left, values, right_basis @ inner_right.mT, tail_multiplicity=tail_multiplicity)
