"""Diagonal operators."""

from __future__ import annotations

from typing import ClassVar, Self, final

import torch
from torch import Tensor

from linearizer_core.errors import DenseLimitError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import base
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.matrix_functions import elementwise_power, reciprocal_above
from linearizer_core.operators.scaled_identity import ScaledIdentity


@final
class Diagonal(LinearOperator):
    r""":math:`\mathrm{diag}(d)` for ``values`` d of shape ``(D,)``.

    Raises:
        ShapeMismatchError: when ``values`` is not a vector.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> Diagonal(torch.tensor([4.0, 9.0])).power(0.5).values
        tensor([2., 3.])
    """

    kind: ClassVar[str] = "diagonal"
    fields: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, values: Tensor) -> None:
        if values.ndim != 1:
            raise ShapeMismatchError(f"Diagonal: values have shape {tuple(values.shape)}, expected (D,): pass the diagonal only")
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

    def _apply(self, z: Tensor) -> Tensor:
        return self.values * z

    def _scale(self, factor: Scalar) -> Diagonal:
        return Diagonal(self.values * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        return Diagonal(self.values * other.values) if isinstance(other, Diagonal) else None

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Diagonal):
            return Diagonal(self.values + other.values)
        return Diagonal(self.values + other.scale) if isinstance(other, ScaledIdentity) else None

    def inverse(self) -> Diagonal:
        zeros = int((self.values == 0).sum())
        if zeros:
            raise SingularOperatorError(f"inverse of {self!r}: {zeros} of its values are 0, expected none; use pinv")
        return Diagonal(1 / self.values)

    def pinv(self, rtol: float | None = None) -> Diagonal:
        return Diagonal(reciprocal_above(self.values, self._relative_tolerance(rtol) * self.values.abs().max().item()))

    def truncate(self, rank: int) -> Diagonal:
        self._require_rank(rank)
        kept = self.values.detach().abs().argsort(descending=True, stable=True)[:rank]
        return Diagonal(self.values * torch.zeros_like(self.values).index_fill(0, kept, 1))

    def trace(self) -> Tensor:
        return self.values.sum()

    def expm(self, t: float = 1.0) -> Diagonal:
        return Diagonal((t * self.values.double()).exp().to(self.dtype))

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        return (t[:, None] * self.values.double()).exp() * z

    def _integer_power(self, n: int) -> Diagonal:
        return Diagonal((self.values.double() ** n).to(self.dtype))

    def _real_power(self, exponent: float) -> Diagonal:
        return Diagonal(elementwise_power(self.values.double(), exponent).to(self.dtype))

    def _dense(self) -> Tensor:
        return torch.diag(self.values)

    def _svd(self) -> SVD:
        # The commonest value becomes the tail: a mask, or a multiple of the identity with few exceptions, stays small.
        values = self.values.double()
        distinct, counts = torch.unique(values, return_counts=True)
        tail = distinct[counts.argmax()]
        index = (values != tail).nonzero()[:, 0]
        index = index[values[index].abs().argsort(descending=True)]
        if len(index) * len(values) > base.DENSE_LIMIT**2:
            raise DenseLimitError(
                f"svd of {self!r} would write out {len(index)} unit vectors, limit {base.DENSE_LIMIT} x {base.DENSE_LIMIT} elements; "
                "the singular values of a diagonal are the absolute values of `values`, and rank, cond and pinv need no vectors"
            )
        right = torch.zeros(len(values), len(index), dtype=torch.float64, device=self.device)
        right[index, torch.arange(len(index), device=self.device)] = 1
        signs = 1 - 2 * (values[index] < 0).double()
        return SVD(right * signs, values[index].abs(), right, tail=tail.item(), tail_multiplicity=int(counts.max()))

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        return self.values.double().abs(), torch.ones_like(self.values, dtype=torch.int64)

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps
