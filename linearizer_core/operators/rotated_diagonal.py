"""Diagonal operators in rotated coordinates."""

from __future__ import annotations

from typing import ClassVar, Self, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.diagonal import Diagonal
from linearizer_core.operators.scaled_identity import ScaledIdentity


@final
class RotatedDiagonal(LinearOperator):
    r""":math:`A = Q\,\mathrm{diag}(d)\,Q^T` with :math:`Q = H_1 \cdots H_k`, :math:`H_i = I - 2 v_i v_i^T / |v_i|^2` (Householder, doi 10.1145/320941.320947).

    The reflections are applied to vectors, at a cost of k D; Q is never formed. Operators with one Q commute and stay of this kind: products, sums, powers,
    exponentials and pseudo-inverses are those of d. With d in {0, 1} it is an orthogonal projector, whose square has the same bits.

    Arguments:
        vectors: the v_i, ``(k, D)``, none of them zero.
        values: d, ``(D,)``.

    Raises:
        ShapeMismatchError: for other shapes.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import RotatedDiagonal
        >>> onto = RotatedDiagonal(torch.tensor([[1.0, -1.0]]), torch.tensor([1.0, 0.0]))  # the reflection swaps the two coordinates
        >>> onto(torch.tensor([3.0, 4.0])), (onto @ onto).rank()
        (tensor([0., 4.]), 1)
    """

    kind: ClassVar[str] = "rotated_diagonal"
    fields: ClassVar[tuple[str, ...]] = ("vectors", "values")

    def __init__(self, vectors: Tensor, values: Tensor) -> None:
        if values.ndim != 1 or vectors.ndim != 2 or vectors.shape[1] != len(values):
            raise ShapeMismatchError(f"RotatedDiagonal: vectors have shape {tuple(vectors.shape)} and values {tuple(values.shape)}, expected (k, D) and (D,)")
        self.vectors = vectors
        self.values = values

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.values), len(self.values)

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    @property
    def T(self) -> Self:
        return self

    def rotate(self, z: Tensor) -> Tensor:
        """Q z for ``(..., D)``: from the coordinates of d to those of A."""
        for vector in self.vectors.flip(0):
            z = _reflect(z, vector)
        return z

    def rotate_back(self, z: Tensor) -> Tensor:
        r""":math:`Q^T z` for ``(..., D)``: the coordinates in which A is diagonal."""
        for vector in self.vectors:
            z = _reflect(z, vector)
        return z

    def _apply(self, z: Tensor) -> Tensor:
        return self.rotate(self.values * self.rotate_back(z))

    def _with(self, diagonal: Diagonal) -> RotatedDiagonal:
        return RotatedDiagonal(self.vectors, diagonal.values)

    def _shares_rotation(self, other: LinearOperator) -> bool:
        return isinstance(other, RotatedDiagonal) and (other.vectors is self.vectors or torch.equal(other.vectors, self.vectors))

    def _scale(self, factor: Scalar) -> RotatedDiagonal:
        return RotatedDiagonal(self.vectors, self.values * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        return RotatedDiagonal(self.vectors, self.values * other.values) if isinstance(other, RotatedDiagonal) and self._shares_rotation(other) else None

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, RotatedDiagonal) and self._shares_rotation(other):
            return RotatedDiagonal(self.vectors, self.values + other.values)
        return RotatedDiagonal(self.vectors, self.values + other.scale) if isinstance(other, ScaledIdentity) else None

    def inverse(self) -> RotatedDiagonal:
        return self._with(Diagonal(self.values).inverse())

    def pinv(self, rtol: float | None = None) -> RotatedDiagonal:
        return self._with(Diagonal(self.values).pinv(rtol))

    def truncate(self, rank: int) -> RotatedDiagonal:
        self._require_rank(rank)
        return self._with(Diagonal(self.values).truncate(rank))

    def trace(self) -> Tensor:
        return self.values.sum()

    def expm(self, t: float = 1.0) -> RotatedDiagonal:
        return self._with(Diagonal(self.values).expm(t))

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        wide = self.to(torch.float64)
        return wide.rotate(Diagonal(wide.values)._evolve(wide.rotate_back(z), t))

    def _integer_power(self, n: int) -> RotatedDiagonal:
        return self._with(Diagonal(self.values)._integer_power(n))

    def _real_power(self, exponent: float) -> RotatedDiagonal:
        return self._with(Diagonal(self.values)._real_power(exponent))

    def _svd(self) -> SVD:
        plain, wide = Diagonal(self.values)._svd(), self.to(torch.float64)
        left, right = (wide.rotate(vectors.mT).mT for vectors in (plain.left, plain.right))
        return SVD(left, plain.values, right, plain.tail, plain.tail_multiplicity)

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        return Diagonal(self.values)._singular_values()

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps


def _reflect(z: Tensor, vector: Tensor) -> Tensor:
    return z - (z @ vector * (2 / (vector @ vector))).unsqueeze(-1) * vector
