"""Projectors onto coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from linearizer_core.errors import ArtifactError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.diagonal import Diagonal
from linearizer_core.operators.scaled_identity import ScaledIdentity


@final
class Mask(LinearOperator):
    r""":math:`P = \mathrm{diag}(m)` with m in {0, 1}: the orthogonal projector onto the coordinates that ``mask`` keeps.

    :math:`P P = P` holds bit for bit; P is its own transpose, pseudo-inverse and positive power (arXiv 2510.08570, idempotent networks).

    Raises:
        ShapeMismatchError: when ``mask`` is not a boolean vector.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Mask
        >>> keep = Mask(torch.tensor([True, False]))
        >>> (keep @ keep)(torch.tensor([3.0, 4.0])), keep.rank()
        (tensor([3., 0.]), 1)
    """

    kind: ClassVar[str] = "mask"
    fields: ClassVar[tuple[str, ...]] = ("mask",)

    def __init__(self, mask: Tensor, dtype: torch.dtype | None = None) -> None:
        if mask.ndim != 1 or mask.dtype != torch.bool:
            raise ShapeMismatchError(f"Mask: got {mask.dtype} of shape {tuple(mask.shape)}, expected torch.bool of shape (D,); pass values > 0.5")
        self.mask = mask
        self._values = mask.to(dtype or torch.get_default_dtype())

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.mask), len(self.mask)

    @property
    def dtype(self) -> torch.dtype:
        return self._values.dtype

    @property
    def device(self) -> torch.device:
        return self.mask.device

    @property
    def T(self) -> Self:
        return self

    def tensors(self) -> dict[str, Tensor]:
        # As 0 and 1 in the operator's dtype: a boolean tensor would forget it.
        return {"mask": self._values}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        values = tensors.get("mask")
        if len(tensors) != 1 or values is None or bool(((values != 0) & (values != 1)).any()):
            raise ArtifactError(f"operator of kind 'mask': found tensors {sorted(tensors)}, expected 'mask' with values 0 and 1; the file was edited")
        return cls(values == 1, dtype=values.dtype)

    def _apply(self, z: Tensor) -> Tensor:
        return self._values * z

    def _scale(self, factor: Scalar) -> Diagonal:
        return Diagonal(self._values * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Mask):
            return Mask(self.mask & other.mask, dtype=self.dtype)
        return Diagonal(self._values * other.values) if isinstance(other, Diagonal) else None

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return self._matmul(other)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Mask):
            return Diagonal(self._values + other._values)
        if isinstance(other, ScaledIdentity) and other.is_exactly(0):
            return self
        return Diagonal(self._values) + other if isinstance(other, Diagonal | ScaledIdentity) else None

    def inverse(self) -> Mask:
        if not bool(self.mask.all()):
            raise SingularOperatorError(f"inverse of {self!r} that keeps {self.rank()} of {len(self.mask)} coordinates, expected all; use pinv")
        return self

    def pinv(self, rtol: float | None = None) -> Mask:
        return self

    def truncate(self, rank: int) -> Mask:
        self._require_rank(rank)
        return Mask(Diagonal(self._values).truncate(rank).values != 0, dtype=self.dtype)

    def trace(self) -> Tensor:
        return self._values.sum()

    def expm(self, t: float = 1.0) -> Diagonal:
        return Diagonal(self._values).expm(t)

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        return Diagonal(self._values)._evolve(z, t)

    def _integer_power(self, n: int) -> Mask:
        return self

    def _real_power(self, exponent: float) -> Mask:
        return self if exponent > 0 else self.inverse()

    def _dense(self) -> Tensor:
        return torch.diag(self._values)

    def _svd(self) -> SVD:
        return Diagonal(self._values)._svd()

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        return Diagonal(self._values)._singular_values()
