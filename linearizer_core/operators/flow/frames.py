"""Which coordinates the operators of a flow have in common, and the way back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.dense import Dense
from linearizer_core.operators.diagonal import Diagonal
from linearizer_core.operators.flow.coordinates import Coordinates
from linearizer_core.operators.lazy import Product, Sum
from linearizer_core.operators.mask import Mask
from linearizer_core.operators.matrix_functions import inverse
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.shared_subspace import SharedSubspace
from linearizer_core.operators.tall import inner_products, triangular_factor


class Frame(ABC):
    """A family of operators closed under sums, products and exponentials, with its `Coordinates`."""

    @property
    @abstractmethod
    def elements(self) -> int:
        """How many numbers one operator has in these coordinates."""

    @abstractmethod
    def coordinates(self, operators: Sequence[LinearOperator], dtype: torch.dtype) -> Coordinates | None:
        """The coordinates of operators, or None when one of them is not of the family."""

    @abstractmethod
    def operator(self, coordinates: Coordinates) -> LinearOperator:
        """The operator with these coordinates, of which there is one."""

    def norm_bound(self, numbers: float, matrix: float) -> float:
        """A bound of the norm of an operator whose numbers are at most ``numbers`` and whose matrix has the norm ``matrix``."""
        return max(numbers, matrix)


def frame_of(operator: LinearOperator) -> Frame | None:
    """The smallest family that holds ``operator`` and what its kind is likely to become at other times; None where there is none."""
    if isinstance(operator, ScaledIdentity):
        return ScalarFrame(operator.dim)
    if isinstance(operator, Diagonal | Mask):
        return DiagonalFrame(operator.shape[0])
    if isinstance(operator, Dense | Product | Sum):
        return DenseFrame(operator.shape[0])
    if isinstance(operator, SharedSubspace):
        left, right = operator.left.detach(), operator.right.detach()
        return SubspaceFrame(left, right, operator.gram if operator.dtype == torch.float64 else inner_products(right, left, torch.float64))
    return None


@final
@dataclass(frozen=True)
class ScalarFrame(Frame):
    """Multiples of the identity."""

    dim: int

    @property
    def elements(self) -> int:
        return 1

    def coordinates(self, operators: Sequence[LinearOperator], dtype: torch.dtype) -> Coordinates | None:
        scales = [operator.scale for operator in operators if isinstance(operator, ScaledIdentity)]
        if len(scales) < len(operators):
            return None
        numbers = torch.stack(scales).to(dtype)[:, None]
        return Coordinates(numbers, numbers.new_empty(len(numbers), 0, 0))

    def operator(self, coordinates: Coordinates) -> LinearOperator:
        return ScaledIdentity(coordinates.numbers[0, 0], self.dim)


@final
@dataclass(frozen=True)
class DiagonalFrame(Frame):
    """Diagonal operators: masks, and multiples of the identity, are among them."""

    dim: int

    @property
    def elements(self) -> int:
        return self.dim

    def coordinates(self, operators: Sequence[LinearOperator], dtype: torch.dtype) -> Coordinates | None:
        if not all(isinstance(operator, Diagonal | Mask | ScaledIdentity) for operator in operators):
            return None
        ones = torch.ones(self.dim, dtype=dtype, device=operators[0].device)
        numbers = torch.stack([operator.to(dtype)(ones) for operator in operators])
        return Coordinates(numbers, numbers.new_empty(len(numbers), 0, 0))

    def operator(self, coordinates: Coordinates) -> LinearOperator:
        return Diagonal(coordinates.numbers[0])


@final
@dataclass(frozen=True)
class DenseFrame(Frame):
    """All operators, as matrices: for those that are given so, and for lazy sums and products below `DENSE_LIMIT`."""

    dim: int

    @property
    def elements(self) -> int:
        return self.dim**2

    def coordinates(self, operators: Sequence[LinearOperator], dtype: torch.dtype) -> Coordinates | None:
        matrices = torch.stack([operator.to(dtype).to_dense() for operator in operators])
        return Coordinates(matrices.new_empty(len(matrices), 0), matrices)

    def operator(self, coordinates: Coordinates) -> LinearOperator:
        return Dense(coordinates.matrices[0])


@final
class SubspaceFrame(Frame):
    r""":math:`c I + U M V^T` with one U and one V, ``left`` and ``right`` of shape ``(D, R)``, and ``gram`` :math:`G = V^T U` in float64.

    On :math:`q = V^T z` such an operator acts as the matrix :math:`Y = c I + G M`, and matrices so made multiply like the operators. The number is c, the
    matrix Y. Where G is too close to singular for :math:`M = G^{-1}(Y - c I)`, the matrix is

    .. math:: \begin{pmatrix} c I & M \\ 0 & c I + G M \end{pmatrix},

    which multiplies like the operators too, and holds M itself.
    """

    def __init__(self, left: Tensor, right: Tensor, gram: Tensor) -> None:
        self.left = left
        self.right = right
        self.gram = gram

    @property
    def elements(self) -> int:
        return self.gram.numel() * (1 if self._regular(torch.float64) else 4)

    def coordinates(self, operators: Sequence[LinearOperator], dtype: torch.dtype) -> Coordinates | None:
        own = SharedSubspace(0.0, self.left, torch.zeros_like(self.gram), self.right, self.gram)
        family = [operator for operator in operators if isinstance(operator, SharedSubspace) and own.shares_subspace(operator)]
        if len(family) < len(operators):
            return None
        scales = torch.stack([operator.scale for operator in family]).to(dtype)
        cores = torch.stack([operator.core for operator in family]).to(dtype)
        inside = self.gram.to(dtype) @ cores + _multiples(scales, cores)
        return Coordinates(scales[:, None], inside if self._regular(dtype) else _block_triangular(scales, cores, inside))

    def coordinates_inside(self, scales: Tensor, inside: Tensor) -> Coordinates:
        """The coordinates of operators that act on q as ``inside`` ``(N, R, R)`` and on the rest as ``scales`` ``(N,)``."""
        if self._regular(inside.dtype):
            return Coordinates(scales[:, None], inside)
        precision = torch.finfo(torch.float64).eps
        cores = (inverse(self.gram, precision) @ (inside - _multiples(scales, inside)).double()).to(inside.dtype)
        return Coordinates(scales[:, None], _block_triangular(scales, cores, inside))

    def operator(self, coordinates: Coordinates) -> LinearOperator:
        scales, matrices = coordinates.numbers[:, 0], coordinates.matrices
        if self._regular(matrices.dtype):
            (core,) = torch.linalg.solve(self.gram, (matrices - _multiples(scales, matrices)).double()).to(matrices.dtype)
        else:
            core = matrices[0, : len(self.gram), len(self.gram) :]
        return SharedSubspace(scales[0], self.left, core, self.right, self.gram.to(core.dtype))

    def norm_bound(self, numbers: float, matrix: float) -> float:
        beside, inside = self._norms
        return beside * numbers + inside * matrix

    @cached_property
    def _norms(self) -> tuple[float, float]:
        r"""How much a number and the matrix count: :math:`\|I - \Pi\|` and :math:`\|U G^{-1}\| \|V\|`, as :math:`c (I - \Pi) + U G^{-1} Y V^T` is the operator,
        :math:`\Pi = U G^{-1} V^T`; without :math:`G^{-1}` 1 and :math:`\|U\| \|V\|`."""
        left, right = (triangular_factor([part], torch.float64) for part in (self.left, self.right))
        if not self._regular(torch.float64):
            return 1.0, _norm(left) * _norm(right)
        left = torch.linalg.solve(self.gram, left, left=False)
        return _norm(left @ right.mT), _norm(left) * _norm(right)

    def _regular(self, dtype: torch.dtype) -> bool:
        """Whether solving with G leaves three quarters of the digits."""
        return bool(self._reciprocal_condition > torch.finfo(dtype).eps ** 0.25)

    @cached_property
    def _reciprocal_condition(self) -> float:
        """The smallest singular value of G, relative to the size of U and V: G itself may be nothing but rounding."""
        size = float(self.left.norm()) * float(self.right.norm()) / max(1, len(self.gram))
        return float(torch.linalg.svdvals(self.gram)[-1:].sum()) / size if size else 0.0


def _norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def _multiples(scales: Tensor, like: Tensor) -> Tensor:
    """Multiples of the identity, ``(N, R, R)``."""
    return scales[:, None, None] * torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def _block_triangular(scales: Tensor, cores: Tensor, inside: Tensor) -> Tensor:
    above = torch.cat([_multiples(scales, cores), cores], dim=2)
    return torch.cat([above, torch.cat([torch.zeros_like(inside), inside], dim=2)], dim=1)
