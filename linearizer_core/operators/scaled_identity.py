"""Multiples of the identity."""

from __future__ import annotations

from typing import ClassVar, Self, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.matrix_functions import elementwise_power, reciprocal_above


@final
class ScaledIdentity(LinearOperator):
    r""":math:`c I` on ``dim`` dimensions; neutral among all kinds where c is 1 (products) or 0 (sums).

    Raises:
        ShapeMismatchError: when ``scale`` is not a single number, or ``dim`` is negative.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import ScaledIdentity
        >>> (ScaledIdentity(2.0, 3) ** -2)(torch.ones(3))
        tensor([0.2500, 0.2500, 0.2500])
    """

    kind: ClassVar[str] = "scaled_identity"
    fields: ClassVar[tuple[str, ...]] = ("scale", "dim")

    def __init__(self, scale: Scalar, dim: int | Tensor, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        if dtype is None:
            dtype = scale.dtype if isinstance(scale, Tensor) else torch.get_default_dtype()
        self.scale = torch.as_tensor(scale, dtype=dtype, device=device)
        self.dim = int(dim)
        if self.scale.ndim or self.dim < 0:
            raise ShapeMismatchError(f"ScaledIdentity: scale of shape {tuple(self.scale.shape)} on {self.dim} dimensions; expected a number, and at least 0")

    @property
    def shape(self) -> tuple[int, int]:
        return self.dim, self.dim

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    @property
    def device(self) -> torch.device:
        return self.scale.device

    @property
    def T(self) -> Self:
        return self

    def tensors(self) -> dict[str, Tensor]:
        return {"scale": self.scale, "dim": torch.tensor(self.dim)}

    def is_exactly(self, value: float) -> bool:
        """Whether the scale is this constant (and not a variable that happens to hold it)."""
        return not self.scale.requires_grad and self.scale.item() == value

    def _apply(self, z: Tensor) -> Tensor:
        return self.scale * z

    def _scale(self, factor: Scalar) -> ScaledIdentity:
        return self._with(self.scale * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if self.is_exactly(1):
            return other
        if self.is_exactly(0) and other.shape == self.shape:
            return self
        return other._scale(self.scale)

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return self._matmul(other)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, ScaledIdentity):
            return self._with(self.scale + other.scale)
        return other if self.is_exactly(0) else None

    def inverse(self) -> ScaledIdentity:
        if self.scale.item() == 0:
            raise SingularOperatorError(f"inverse of {self!r} with scale 0; expected a scale other than 0: use pinv")
        return self._with(1 / self.scale)

    def pinv(self, rtol: float | None = None) -> ScaledIdentity:
        return self._with(reciprocal_above(self.scale, 0.0))

    def truncate(self, rank: int) -> LinearOperator:
        from linearizer_core.operators.diagonal import Diagonal

        self._require_rank(rank)
        return Diagonal(self.scale.expand(self.dim)).truncate(rank)

    def trace(self) -> Tensor:
        return self.scale * self.dim

    def expm(self, t: float = 1.0) -> ScaledIdentity:
        return self._with((t * self.scale.double()).exp())

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        return (t[:, None] * self.scale.double()).exp() * z

    def _integer_power(self, n: int) -> ScaledIdentity:
        return self._with(self.scale.double() ** n)

    def _real_power(self, exponent: float) -> ScaledIdentity:
        return self._with(elementwise_power(self.scale.double(), exponent))

    def _svd(self) -> SVD:
        empty = torch.empty(self.dim, 0, dtype=torch.float64, device=self.device)
        return SVD(empty, empty[0], empty, tail=self.scale.item(), tail_multiplicity=self.dim)

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps

    def _with(self, scale: Tensor) -> ScaledIdentity:
        return ScaledIdentity(scale, self.dim, dtype=self.dtype, device=self.device)
