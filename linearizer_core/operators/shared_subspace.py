"""Operators that differ from a multiple of the identity inside one fixed subspace only."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank, values_with_tail
from linearizer_core.operators.low_rank import LowRank
from linearizer_core.operators.matrix_functions import inverse, phi_1
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.tall import inner_products, triangular_factor
from linearizer_core.operators.times import apply_at_times


@final
class SharedSubspace(LinearOperator):
    r""":math:`c I + U M V^T` with ``left`` U and ``right`` V of shape ``(D, R)`` and ``core`` M of shape ``(R, R)``.

    Operators that hold **the very same tensors** U and V form an algebra: with ``gram`` :math:`G = V^T U`,

    .. math:: (c_1 I + U M_1 V^T)(c_2 I + U M_2 V^T) = c_1 c_2 I + U (c_1 M_2 + c_2 M_1 + M_1 G M_2) V^T,

    so sums, products, integer powers, inverses and exponentials cost nothing that grows with D. G is computed when first needed unless given.
    With any other operator the result is an `IdentityPlusLowRank`. The dtype is that of M: U and V may be kept in a narrower one, and are widened where
    they are used, so that a large model need not be copied for an M in float64.

    Raises:
        ShapeMismatchError: when the shapes do not fit together.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import SharedSubspace
        >>> u = torch.eye(5, 2)
        >>> a = SharedSubspace(1.0, u, torch.tensor([[0.0, 1.0], [0.0, 0.0]]), u)
        >>> (a**10).core
        tensor([[ 0., 10.],
                [ 0.,  0.]])
    """

    kind: ClassVar[str] = "shared_subspace"
    fields: ClassVar[tuple[str, ...]] = ("scale", "left", "core", "right")

    def __init__(self, scale: Scalar, left: Tensor, core: Tensor, right: Tensor, gram: Tensor | None = None) -> None:
        size = left.shape[1] if left.ndim == 2 else -1
        self.scale = torch.as_tensor(scale, dtype=core.dtype, device=core.device)
        if left.shape != right.shape or core.shape != (size, size) or self.scale.ndim or (gram is not None and gram.shape != core.shape):
            given = ", ".join(str(tuple(tensor.shape)) for tensor in (self.scale, left, core, right, gram) if tensor is not None)
            raise ShapeMismatchError(
                f"SharedSubspace: scale, left, core, right (and gram) have shapes {given}; expected (), (D, R), (R, R), (D, R) (and (R, R))"
            )
        self.left = left
        self.core = core
        self.right = right
        self._gram = gram

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.left), len(self.left)

    @property
    def gram(self) -> Tensor:
        """G = V^T U, ``(R, R)``."""
        if self._gram is None:
            self._gram = inner_products(self.right, self.left, self.dtype)
        return self._gram

    @property
    def dtype(self) -> torch.dtype:
        return self.core.dtype

    @property
    def device(self) -> torch.device:
        return self.core.device

    @property
    def T(self) -> SharedSubspace:
        return SharedSubspace(self.scale, self.right, self.core.mT, self.left, None if self._gram is None else self._gram.mT)

    def to_low_rank(self) -> IdentityPlusLowRank:
        """The same operator with U M as the left factor."""
        return IdentityPlusLowRank(self.scale, self.left.to(self.dtype) @ self.core, self.right.to(self.dtype))

    def shares_subspace(self, other: LinearOperator) -> bool:
        """Whether ``other`` holds the very same U and V, so that the two combine in R dimensions."""
        return isinstance(other, SharedSubspace) and same_tensor(self.left, other.left) and same_tensor(self.right, other.right)

    def _apply(self, z: Tensor) -> Tensor:
        return self.scale * z + (z @ self.right.to(z.dtype)) @ self.core.mT @ self.left.mT.to(z.dtype)

    def _scale(self, factor: Scalar) -> SharedSubspace:
        return self._with(self.scale * factor, self.core * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, SharedSubspace) and self.shares_subspace(other):
            return self._with(self.scale * other.scale, self.scale * other.core + other.scale * self.core + self.core @ self.gram @ other.core)
        return self.to_low_rank() @ _lowered(other) if isinstance(other, IdentityPlusLowRank | SharedSubspace) else None

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return other @ self.to_low_rank() if isinstance(other, IdentityPlusLowRank) else None

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, ScaledIdentity):
            return self._with(self.scale + other.scale, self.core)
        if isinstance(other, SharedSubspace) and self.shares_subspace(other):
            return self._with(self.scale + other.scale, self.core + other.core)
        return self.to_low_rank() + _lowered(other) if isinstance(other, IdentityPlusLowRank | SharedSubspace | LowRank) else None

    def inverse(self) -> LinearOperator:
        if self.scale.item() == 0:
            if len(self.core) < len(self.left):
                raise SingularOperatorError(f"inverse of {self!r} of rank {len(self.core)} at most, expected full rank; use pinv")
            return super().inverse()
        scale, core = self.scale.double(), self.core.double()
        inner = core @ self.gram.double() + torch.diag(scale.expand(len(core)))
        return self._with(1 / scale, -inverse(inner, self._precision) @ core / scale)

    def trace(self) -> Tensor:
        return self.scale * len(self.left) + (self.core * self.gram.mT).sum()

    def expm(self, t: float = 1.0) -> SharedSubspace:
        growth, core = (t * self.scale.double()).exp(), t * self.core.double()
        return self._with(growth, growth * phi_1(core @ self.gram.double()) @ core)

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        core, inner = self.core.double(), self.core.double() @ self.gram.double()
        inside = apply_at_times(lambda times: times[:, None, None] * phi_1(times[:, None, None] * inner) @ core, z @ self.right.double(), t)
        return (t[:, None] * self.scale.double()).exp() * (z + inside @ self.left.double().mT)

    def _real_power(self, exponent: float) -> LinearOperator:
        return self.to_low_rank()._real_power(exponent)

    def _dense(self) -> Tensor:
        return self.to_low_rank()._dense()

    def _svd(self) -> SVD:
        return self.to(torch.float64).to_low_rank()._svd()

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        outer, inner = triangular_factor([self.left, self.right], torch.float64).tensor_split([len(self.core)], dim=1)
        return values_with_tail(self.scale, outer @ self.core.double() @ inner.mT, len(self.left))

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps * max(1, min(2 * len(self.core), len(self.left)))

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> SharedSubspace:
        """The same operator in another dtype or on another device. U and V stay as they are unless they are wider than ``dtype``: so they stay shared."""
        wanted = dtype or self.dtype
        stays = device is None or torch.device(device) == self.device
        if not stays or self.left.dtype.itemsize > wanted.itemsize:
            return super().to(dtype, device)
        if wanted == self.dtype:
            return self
        gram = self._gram if self._gram is not None and self._gram.dtype.itemsize >= wanted.itemsize else None
        return SharedSubspace(self.scale.to(wanted), self.left, self.core.to(wanted), self.right, gram if gram is None else gram.to(wanted))

    def _map(self, function: Callable[[Tensor], Tensor]) -> SharedSubspace:
        left = function(self.left)
        return SharedSubspace(function(self.scale), left, function(self.core), left if self.right is self.left else function(self.right))

    def _with(self, scale: Tensor, core: Tensor) -> SharedSubspace:
        return SharedSubspace(scale, self.left, core.to(self.dtype), self.right, self._gram)


def same_tensor(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are one, or, where no gradient tells them apart, lie in one place: two collapses of one core share its subspace."""
    if first is second or (torch.is_grad_enabled() and (first.requires_grad or second.requires_grad)):
        return first is second
    layouts = [(tensor.data_ptr(), tensor.dtype, tensor.device, tensor.shape, tensor.stride()) for tensor in (first, second)]
    return layouts[0] == layouts[1]


def _lowered(operator: LinearOperator) -> LinearOperator:
    return operator.to_low_rank() if isinstance(operator, SharedSubspace) else operator
