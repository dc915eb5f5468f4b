"""Multiples of the identity plus low rank."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.low_rank import LowRank
from linearizer_core.operators.matrix_functions import elementwise_power, real_power
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.tall import triangular_factor


@final
class IdentityPlusLowRank(LinearOperator):
    r""":math:`c I + U V^T` with ``left`` U and ``right`` V of shape ``(D, k)``: what a step of a flow with a low-rank core is.

    Closed under sums, products, transposes, integer powers, inverses (Woodbury) and exponentials, all in k dimensions. With W an orthonormal
    basis of the span of [U, V], :math:`A = c (I - W W^T) + W (c I + S) W^T`, so every other function acts on c and on a matrix of size 2k:
    real powers, singular values, pseudo-inverses.

    Raises:
        ShapeMismatchError: when the factors differ in shape, or ``scale`` is not a single number.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import IdentityPlusLowRank
        >>> u = torch.ones(4, 1, dtype=torch.float64)
        >>> a = IdentityPlusLowRank(2.0, u, u)
        >>> a.inverse()(a(u.T)), round(a.cond(), 12)
        (tensor([[1., 1., 1., 1.]], dtype=torch.float64), 3.0)
    """

    kind: ClassVar[str] = "identity_plus_low_rank"
    fields: ClassVar[tuple[str, ...]] = ("scale", "left", "right")

    def __init__(self, scale: Scalar, left: Tensor, right: Tensor) -> None:
        self.scale = torch.as_tensor(scale, dtype=left.dtype, device=left.device)
        if left.ndim != 2 or left.shape != right.shape or self.scale.ndim:
            given = ", ".join(str(tuple(tensor.shape)) for tensor in (self.scale, left, right))
            raise ShapeMismatchError(f"IdentityPlusLowRank: scale, left and right have shapes {given}; expected (), (D, k), (D, k)")
        self.left = left
        self.right = right

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.left), len(self.left)

    @property
    def columns(self) -> int:
        """k, a bound of the rank of the low-rank part."""
        return self.left.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.left.dtype

    @property
    def device(self) -> torch.device:
        return self.left.device

    @property
    def T(self) -> IdentityPlusLowRank:
        return IdentityPlusLowRank(self.scale, self.right, self.left)

    def compress(self, rtol: float = 1e-12) -> IdentityPlusLowRank:
        """The same operator with orthogonal factors, without the singular values of the low-rank part up to ``rtol`` times the largest of that part."""
        part = LowRank(self.left, self.right).compress(rtol)
        return IdentityPlusLowRank(self.scale, part.left, part.right)

    def _apply(self, z: Tensor) -> Tensor:
        return self.scale * z + (z @ self.right) @ self.left.mT

    def _scale(self, factor: Scalar) -> IdentityPlusLowRank:
        return IdentityPlusLowRank(self.scale * factor, self.left * factor, self.right)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if not isinstance(other, IdentityPlusLowRank):
            return None
        left = torch.cat([self.left, self.scale * other.left], dim=1)
        right = torch.cat([other.T._apply(self.right.mT).mT, other.right], dim=1)
        return IdentityPlusLowRank(self.scale * other.scale, left, right)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, ScaledIdentity):
            return IdentityPlusLowRank(self.scale + other.scale, self.left, self.right)
        if not isinstance(other, IdentityPlusLowRank | LowRank):
            return None
        scale = self.scale + other.scale if isinstance(other, IdentityPlusLowRank) else self.scale
        return IdentityPlusLowRank(scale, torch.cat([self.left, other.left], dim=1), torch.cat([self.right, other.right], dim=1))

    def inverse(self) -> LinearOperator:
        return self._in_shared_subspace(lambda operator: operator.inverse())

    def trace(self) -> Tensor:
        return self.scale * len(self.left) + (self.left * self.right).sum()

    def expm(self, t: float = 1.0) -> LinearOperator:
        return self._in_shared_subspace(lambda operator: operator.expm(t))

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        from linearizer_core.operators.shared_subspace import SharedSubspace

        wide = self.to(torch.float64)
        identity = torch.eye(self.columns, dtype=torch.float64, device=self.device)
        return SharedSubspace(wide.scale, wide.left, identity, wide.right)._evolve(z, t)

    def _integer_power(self, n: int) -> LinearOperator:
        return self._in_shared_subspace(lambda operator: operator._integer_power(n))

    def _real_power(self, exponent: float) -> LinearOperator:
        if self.scale.item() == 0:
            return LowRank(self.left, self.right).power(exponent)
        basis, core = self._restriction()
        complement = len(basis) > len(core)
        scale = elementwise_power(self.scale.double(), exponent) if complement else torch.zeros_like(core[0, 0])
        power = real_power(core, exponent, self._precision) if len(core) else core
        return IdentityPlusLowRank(scale, basis @ (power - scale * torch.eye(len(core), dtype=core.dtype, device=core.device)), basis).to(self.dtype)

    def _dense(self) -> Tensor:
        return torch.diag(self.scale.expand(len(self.left))) + self.left @ self.right.mT

    def _svd(self) -> SVD:
        basis, core = self._restriction()
        left, values, right = torch.linalg.svd(core)
        return SVD(basis @ left, values, basis @ right.mT, tail=self.scale.item(), tail_multiplicity=len(basis) - len(core))

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        outer, inner = triangular_factor([self.left, self.right], torch.float64).tensor_split([self.columns], dim=1)
        return values_with_tail(self.scale, outer @ inner.mT, len(self.left))

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps * max(1, min(2 * self.columns, len(self.left)))

    def _restriction(self) -> tuple[Tensor, Tensor]:
        """W, an orthonormal basis of a space that contains the ranges of both factors, and the matrix of A on it; in float64."""
        left, right = self.left.double(), self.right.double()
        basis, _ = torch.linalg.qr(torch.cat([left, right], dim=1))
        core = (basis.mT @ left) @ (right.mT @ basis)
        return basis, core + torch.diag(self.scale.double().expand(len(core)))

    def _in_shared_subspace(self, function: Callable[[LinearOperator], LinearOperator]) -> LinearOperator:
        from linearizer_core.operators.shared_subspace import SharedSubspace

        wide = self.to(torch.float64)
        identity = torch.eye(self.columns, dtype=torch.float64, device=self.device)
        answer = function(SharedSubspace(wide.scale, wide.left, identity, wide.right))
        return (answer.to_low_rank() if isinstance(answer, SharedSubspace) else answer).to(self.dtype)


def values_with_tail(scale: Tensor, low_rank: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Singular values of ``c I + L`` on ``dim`` dimensions with their multiplicities: ``low_rank`` is L on a subspace that holds its range and its support."""
    wide = scale.detach().double()
    inside = torch.linalg.svdvals(low_rank + torch.diag(wide.expand(len(low_rank))))
    values, multiplicities = torch.cat([inside, wide.abs()[None]]), torch.ones(len(inside) + 1, dtype=torch.int64, device=inside.device)
    multiplicities[-1] = dim - len(inside)
    return values[multiplicities > 0], multiplicities[multiplicities > 0]
