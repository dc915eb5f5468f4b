"""Operators given as a matrix."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError
from linearizer_core.operators.base import LinearOperator, Scalar
from linearizer_core.operators.low_rank import LowRank


@final
class Dense(LinearOperator):
    r"""A matrix :math:`A` of shape ``(m, n)``. Absorbs what it meets, low rank excepted.

    Raises:
        ShapeMismatchError: when ``matrix`` is not two-dimensional.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Dense
        >>> Dense(torch.tensor([[0.0, 1.0], [0.0, 0.0]])).expm(2.0).to_dense()
        tensor([[1., 2.],
                [0., 1.]])
    """

    kind: ClassVar[str] = "dense"
    fields: ClassVar[tuple[str, ...]] = ("matrix",)

    def __init__(self, matrix: Tensor) -> None:
        if matrix.ndim != 2:
            raise ShapeMismatchError(f"Dense: matrix has shape {tuple(matrix.shape)}, expected (m, n): one matrix, without batch dimensions")
        self.matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.matrix), self.matrix.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        return self.matrix.device

    @property
    def T(self) -> Dense:
        return Dense(self.matrix.mT)

    def _apply(self, z: Tensor) -> Tensor:
        return z @ self.matrix.mT

    def _scale(self, factor: Scalar) -> Dense:
        return Dense(self.matrix * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Dense):
            return Dense(self.matrix @ other.matrix)
        return None if isinstance(other, LowRank) else Dense(other.T._apply(self.matrix))

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return Dense(other._apply(self.matrix.mT).mT)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        return Dense(self.matrix + other._dense())

    def _dense(self) -> Tensor:
        return self.matrix

    def _limited_dense(self, operation: str) -> Tensor:
        return self.matrix
