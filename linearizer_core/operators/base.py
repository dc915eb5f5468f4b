"""The contract of a linear map between two flat vector spaces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from linearizer_core.errors import ArtifactError, DenseLimitError, ShapeMismatchError, TruncationError
from linearizer_core.operators import matrix_functions
from linearizer_core.operators.times import apply_at_times

DENSE_LIMIT = 4096
"""Largest dimension at which an operation without a structured answer may form a dense matrix (4096 x 4096 float64: 134 MB)."""

Scalar = float | Tensor
"""A number, or a tensor without dimensions where gradients should reach it."""


@dataclass(frozen=True)
class SVD:
    r"""A singular value decomposition that knows what it did not write out.

    :math:`A = U \,\mathrm{diag}(s)\, V^T + \texttt{tail}\,(I - V V^T)`: ``left`` is ``(m, k)``, ``values`` ``(k,)`` in descending order, ``right`` ``(n, k)``,
    columns orthonormal. ``tail`` is the coefficient with which A acts on the orthogonal complement of ``right`` (there U and V span the
    same space); its absolute value is a singular value of multiplicity ``tail_multiplicity``. For a map without structure the tail is empty.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    tail: float = 0.0
    tail_multiplicity: int = 0

    @property
    def largest(self) -> float:
        """The operator norm."""
        return max([abs(self.tail)] * (self.tail_multiplicity > 0) + ([self.values.max().item()] if len(self.values) else [0.0]))

    @property
    def smallest(self) -> float:
        """The least of all min(m, n) singular values."""
        return min([abs(self.tail)] * (self.tail_multiplicity > 0) + ([self.values.min().item()] if len(self.values) else []))


class LinearOperator(ABC):
    r"""An immutable linear map :math:`A: \mathbb{R}^n \to \mathbb{R}^m` acting on the last dimension.

    The algebra stays inside the structured kinds wherever mathematics allows it and falls back to lazy products and sums. A dense matrix is
    formed only where one was given, or below `DENSE_LIMIT`; above it `DenseLimitError` is raised. Gradients flow through the call, ``@``, ``+``, scalar
    multiples and `to_dense`. Decompositions run in float64 and return in the operator's dtype; operands of two dtypes meet in the wider one.

    Note to implementers. A kind MUST set ``kind`` (its name in files) and ``fields`` (its tensors, which are also its constructor's arguments), and
    implement `shape`, `dtype`, `device`, `T`, ``_apply`` and ``_scale``. How it combines with others it says in three rules, each of which returns
    None where it does not know: ``_matmul`` (self @ other), ``_rmatmul`` (other @ self) and ``_add`` (self + other). The left operand's rule is
    asked first, then the right operand's, and when neither knows, the answer is a lazy `Product` or `Sum`. It SHOULD override what its structure makes
    cheap; what it leaves alone is answered through its dense matrix, in float64, below `DENSE_LIMIT`.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import LowRank, ScaledIdentity
        >>> column = torch.tensor([[3.0], [4.0]]) / 5
        >>> reflection = ScaledIdentity(1.0, 2) - 2 * LowRank(column, column)
        >>> type(reflection).__name__, torch.allclose((reflection @ reflection).to_dense(), torch.eye(2), atol=1e-6)
        ('IdentityPlusLowRank', True)
    """

    kind: ClassVar[str]
    fields: ClassVar[tuple[str, ...]]

    # --- every kind ------------------------------------------------------------------------------

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(m, n)``: output and input dimension."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype: ...

    @property
    @abstractmethod
    def device(self) -> torch.device: ...

    @property
    @abstractmethod
    def T(self) -> LinearOperator:
        """The transpose."""

    @abstractmethod
    def _apply(self, z: Tensor) -> Tensor:
        """A z for ``z`` of shape ``(..., n)``, already checked and in the operator's dtype."""

    @abstractmethod
    def _scale(self, factor: Scalar) -> LinearOperator:
        """``factor`` A."""

    def __call__(self, z: Tensor) -> Tensor:
        """Apply to ``(..., n)``, giving ``(..., m)``. Differentiable in ``z`` and in the tensors of the operator.

        Raises:
            ShapeMismatchError: when the last dimension of ``z`` is not n.
        """
        if z.ndim == 0 or z.shape[-1] != self.shape[1]:
            raise ShapeMismatchError(f"{self!r} applied to shape {tuple(z.shape)}; expected (..., {self.shape[1]}): flatten the latent first")
        dtype = torch.promote_types(self.dtype, z.dtype)
        return self.to(dtype)._apply(z.to(dtype))

    # --- algebra ---------------------------------------------------------------------------------

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        return None

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        return None

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        return None

    def __matmul__(self, other: LinearOperator) -> LinearOperator:
        """The composition: first ``other``, then this.

        Raises:
            ShapeMismatchError: unless the output dimension of ``other`` is the input dimension of this.
        """
        from linearizer_core.operators.lazy import Product

        if not isinstance(other, LinearOperator):
            return NotImplemented
        if self.shape[1] != other.shape[0]:
            raise ShapeMismatchError(f"{self!r} @ {other!r}: {self.shape[1]} inputs meet {other.shape[0]} outputs; the two must be equal")
        left, right = _promoted(self, other)
        return left._matmul(right) or right._rmatmul(left) or Product(left, right)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        """The sum.

        Raises:
            ShapeMismatchError: unless both shapes are equal.
        """
        from linearizer_core.operators.lazy import Sum

        if not isinstance(other, LinearOperator):
            return NotImplemented
        if self.shape != other.shape:
            raise ShapeMismatchError(f"{self!r} + {other!r}: shapes {self.shape} and {other.shape} differ; a sum needs equal shapes")
        left, right = _promoted(self, other)
        return left._add(right) or right._add(left) or Sum(left, right)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return self + (-other) if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return self._scale(-1.0)

    def __mul__(self, factor: Scalar) -> LinearOperator:
        if isinstance(factor, int | float):
            return self if factor == 1 else self._scale(float(factor))
        return self._scale(factor) if isinstance(factor, Tensor) and factor.ndim == 0 else NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: Scalar) -> LinearOperator:
        return self * (1 / divisor) if isinstance(divisor, int | float | Tensor) else NotImplemented

    def __pow__(self, exponent: float) -> LinearOperator:
        return self.power(exponent)

    # --- functions of the operator -----------------------------------------------------------------

    def inverse(self) -> LinearOperator:
        """The inverse.

        Raises:
            ShapeMismatchError: when the operator is not square.
            SingularOperatorError: when it is singular to the precision of its dtype.
        """
        return self._dense_function("inverse", lambda matrix: matrix_functions.inverse(matrix, self._precision))

    def power(self, n: float) -> LinearOperator:
        r"""The n-th power: identity for 0, powers of the inverse for negative n, the principal power for real n.

        Raises:
            ShapeMismatchError: when the operator is not square.
            SingularOperatorError: for a negative n where there is no inverse.
            UndefinedPowerError: for a real n when the spectrum touches the closed negative axis (0 is fine where the operator is symmetric).
        """
        self._require_square("power")
        if n == 0:
            return self._identity()
        if float(n).is_integer():
            return (self if n > 0 else self.inverse())._integer_power(abs(int(n)))
        return self._real_power(float(n))

    def expm(self, t: float = 1.0) -> LinearOperator:
        r"""The exponential :math:`e^{tA}`.

        Raises:
            ShapeMismatchError: when the operator is not square.
        """
        return self._dense_function("expm", lambda matrix: matrix_functions.expm(t * matrix))

    def evolve(self, z: Tensor, t: float | Tensor) -> Tensor:
        r"""The flow of the generator A: :math:`e^{tA} z`, with a time of its own for every row.

        ``z`` is ``(..., n)``; ``t``, any real numbers, broadcasts against its leading dimensions: ``z[:, None]`` and ``t`` ``(B, T)`` give ``(B, T, n)``.
        Differentiable in ``z``, in ``t`` and in the tensors of the operator. Exponentials are computed in float64, each distinct time once; the result has
        the wider dtype of operator and ``z``. Kinds with closed forms keep them (O(n) for `Diagonal` and `DecayRotation`); others form one dense
        matrix for each distinct time, below `DENSE_LIMIT`.

        Raises:
            ShapeMismatchError: when the operator is not square, or ``z`` and ``t`` do not fit together.
            DenseLimitError: where a dense matrix would be too large.

        Example:
            >>> import torch
            >>> from linearizer_core.operators import Diagonal
            >>> Diagonal(torch.tensor([0.0, -1.0])).evolve(torch.ones(2), torch.tensor([0.0, 0.6931]))
            tensor([[1.0000, 1.0000],
                    [1.0000, 0.5000]])
        """
        self._require_square("evolve")
        if z.ndim == 0 or z.shape[-1] != self.shape[1]:
            raise ShapeMismatchError(f"{self!r} evolves shape {tuple(z.shape)}; expected (..., {self.shape[1]}): flatten the latent first")
        given = torch.as_tensor(t, dtype=torch.float64, device=z.device)
        try:
            times = given + z.new_zeros(z.shape[:-1], dtype=torch.float64)
        except RuntimeError as error:
            raise ShapeMismatchError(f"times of shape {tuple(given.shape)} do not broadcast against rows of shape {tuple(z.shape[:-1])}") from error
        rows = z.double().expand(*times.shape, z.shape[-1])
        found = self._evolve(rows.reshape(-1, z.shape[-1]), times.reshape(-1))
        return found.reshape(rows.shape).to(torch.promote_types(self.dtype, z.dtype))

    def svd(self) -> SVD:
        """The singular value decomposition, structured where the operator is (see `SVD`)."""
        found = self._svd()
        return SVD(found.left.to(self.dtype), found.values.to(self.dtype), found.right.to(self.dtype), found.tail, found.tail_multiplicity)

    def pinv(self, rtol: float | None = None) -> LinearOperator:
        r"""The Moore-Penrose inverse :math:`A^+ = V \,\mathrm{diag}(s^+)\, U^T`.

        Singular values up to ``rtol`` times the largest count as zero; by default the precision of the dtype times the number
        of singular values that had to be computed.
        """
        from linearizer_core.operators.dense import Dense
        from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
        from linearizer_core.operators.low_rank import LowRank

        found = self._svd()
        cutoff = self._relative_tolerance(rtol) * found.largest
        right = found.right * matrix_functions.reciprocal_above(found.values, cutoff)
        result: LinearOperator
        if found.tail_multiplicity == 0:
            result = Dense(right @ found.left.mT)
        elif abs(found.tail) <= cutoff:
            result = LowRank(right, found.left)
        else:
            result = IdentityPlusLowRank(1 / found.tail, right - found.left / found.tail, found.left)
        return result.to(self.dtype)

    def truncate(self, rank: int) -> LinearOperator:
        r"""The best approximation of ``rank``, in the operator norm and in the Frobenius norm: the ``rank`` largest singular triples (Eckart and Young).

        Of equal singular values of coordinates (in a `Diagonal`, a `Mask`, a `ScaledIdentity`) the first ones are kept. The multiple of the identity in
        :math:`c I + U V^T` is a singular value too, and no directions of it come first: it is kept as a whole or dropped as a whole.

        Raises:
            TruncationError: for a rank below 0 or above that of the shape, or one that would keep a part of the multiple of the identity.

        Example:
            >>> import torch
            >>> from linearizer_core.operators import IdentityPlusLowRank
            >>> a = IdentityPlusLowRank(0.1, torch.eye(5, 2) * torch.tensor([4.0, 2.0]), torch.eye(5, 2))
            >>> a.truncate(1), a.truncate(1).to_dense().diagonal()
            (LowRank(5 x 5, float32), tensor([4.1000, 0.0000, 0.0000, 0.0000, 0.0000]))
        """
        from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
        from linearizer_core.operators.low_rank import LowRank

        self._require_rank(rank)
        if rank == min(self.shape):
            return self
        found = self._svd()
        beside, rounding = abs(found.tail), self._precision * found.largest
        above = int((found.values > beside + rounding).sum()) if found.tail_multiplicity else len(found.values)
        if rank <= above or beside <= rounding:
            return LowRank(found.left[:, :rank] * found.values[:rank], found.right[:, :rank]).to(self.dtype)
        through = int((found.values >= beside - rounding).sum()) + found.tail_multiplicity
        if rank < through:
            raise TruncationError(
                f"truncate({rank}) of {self!r}: of its singular values, {above} are above {beside:.3g}, which comes {through - above} times, "
                f"with no directions that come first; expected a rank up to {above}, or from {through}"
            )
        kept = rank - found.tail_multiplicity
        left = torch.cat([found.left[:, :kept] * found.values[:kept], torch.zeros_like(found.left[:, kept:])], dim=1)
        return IdentityPlusLowRank(found.tail, left - found.tail * found.right, found.right).to(self.dtype)

    def singular_values(self) -> Tensor:
        """All min(m, n) singular values, descending; no singular vectors are formed."""
        values, multiplicities = self._singular_values()
        return values.repeat_interleave(multiplicities).sort(descending=True).values.to(self.dtype)

    def norm(self) -> float:
        """The operator norm: the largest singular value."""
        return self._singular_values()[0].max().item()

    def rank(self, rtol: float | None = None) -> int:
        """The number of singular values above ``rtol`` times the largest (default as in `pinv`)."""
        values, multiplicities = self._singular_values()
        return int(multiplicities[values > self._relative_tolerance(rtol) * values.max()].sum())

    def cond(self) -> float:
        """The condition number: largest over smallest singular value, infinite where the rank is not full."""
        values, _ = self._singular_values()
        largest, smallest = values.max().item(), values.min().item()
        return largest / smallest if smallest > self._precision * largest else float("inf")

    def trace(self) -> Tensor:
        """The sum of the diagonal, a tensor without dimensions, differentiable in the tensors of the operator. The trace of a projector is its rank.

        Raises:
            ShapeMismatchError: when the operator is not square.

        Example:
            >>> import torch
            >>> from linearizer_core.operators import LowRank, ScaledIdentity
            >>> (ScaledIdentity(2.0, 3) + LowRank(torch.ones(3, 1), torch.ones(3, 1))).trace()
            tensor(9.)
        """
        self._require_square("trace")
        return self._limited_dense("trace").diagonal().sum()

    def to_dense(self) -> Tensor:
        """The matrix, ``(m, n)``.

        Raises:
            DenseLimitError: when it has more than ``DENSE_LIMIT**2`` elements and was not given as a matrix.
        """
        return self._limited_dense("to_dense")

    # --- representation ------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that define the operator, by name: what is stored. `from_tensors` takes them back."""
        return {name: getattr(self, name) for name in self.fields}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The operator with these `tensors`.

        Raises:
            ArtifactError: when names are missing or unknown.
        """
        if set(tensors) != set(cls.fields):
            raise ArtifactError(f"operator of kind {cls.kind!r}: found tensors {sorted(tensors)}, expected {sorted(cls.fields)}; the file was edited")
        return cls(**tensors)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> Self:
        """The same operator in another dtype or on another device."""
        if dtype in (None, self.dtype) and (device is None or torch.device(device) == self.device):
            return self
        return self._map(lambda tensor: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.shape[0]} x {self.shape[1]}, {str(self.dtype).removeprefix('torch.')})"

    # --- for implementers ------------------------------------------------------------------------------

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The operator whose tensors went through ``function``."""
        return type(self).from_tensors({name: function(tensor) for name, tensor in self.tensors().items()})

    def _dense(self) -> Tensor:
        """The matrix, whatever its size."""
        return self._apply(torch.eye(self.shape[1], dtype=self.dtype, device=self.device)).mT

    def _limited_dense(self, operation: str) -> Tensor:
        rows, columns = self.shape
        if rows * columns > DENSE_LIMIT**2:
            raise DenseLimitError(
                f"{operation} of {self!r} would form a dense matrix, limit {DENSE_LIMIT} x {DENSE_LIMIT}; "
                "build the operator from Diagonal, LowRank, IdentityPlusLowRank or SharedSubspace so that the answer keeps its structure"
            )
        return self._dense()

    def _dense_function(self, name: str, function: Callable[[Tensor], Tensor]) -> LinearOperator:
        from linearizer_core.operators.dense import Dense

        self._require_square(name)
        return Dense(function(self._limited_dense(name).double())).to(self.dtype)

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        """`evolve` of rows ``(N, n)`` at times ``(N,)``, both float64."""
        matrix = self._limited_dense("evolve").double()
        return apply_at_times(lambda times: matrix_functions.expm(times[:, None, None] * matrix), z, t)

    def _integer_power(self, n: int) -> LinearOperator:
        half = self if n == 1 else self._integer_power(n // 2)
        square = half if n == 1 else half @ half
        return square @ self if n > 1 and n % 2 else square

    def _real_power(self, exponent: float) -> LinearOperator:
        return self._dense_function("power", lambda matrix: matrix_functions.real_power(matrix, exponent, self._precision))

    def _svd(self) -> SVD:
        """`svd` in float64."""
        left, values, right = torch.linalg.svd(self._limited_dense("svd").double(), full_matrices=False)
        return SVD(left, values, right.mT)

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        """All singular values, in no order, and how often each occurs."""
        found = self._svd()
        values, multiplicities = found.values, torch.ones_like(found.values, dtype=torch.int64)
        if found.tail_multiplicity:
            values = torch.cat([values, values.new_tensor([abs(found.tail)])])
            multiplicities = torch.cat([multiplicities, multiplicities.new_tensor([found.tail_multiplicity])])
        return values, multiplicities

    @property
    def _precision(self) -> float:
        """Below this share of the largest singular value the others are rounding errors."""
        return torch.finfo(self.dtype).eps * min(self.shape)

    def _relative_tolerance(self, rtol: float | None) -> float:
        return self._precision if rtol is None else rtol

    def _identity(self) -> LinearOperator:
        from linearizer_core.operators.scaled_identity import ScaledIdentity

        return ScaledIdentity(1.0, self.shape[0], dtype=self.dtype, device=self.device)

    def _require_rank(self, rank: int) -> None:
        if not 0 <= rank <= min(self.shape):
            raise TruncationError(f"truncate({rank}) of {self!r}: expected a rank from 0 to {min(self.shape)}")

    def _require_square(self, operation: str) -> None:
        if self.shape[0] != self.shape[1]:
            raise ShapeMismatchError(f"{operation} of {self!r}: shape {self.shape}, expected a square operator; use pinv or A.T @ A")


def _promoted(left: LinearOperator, right: LinearOperator) -> tuple[LinearOperator, LinearOperator]:
    dtype = torch.promote_types(left.dtype, right.dtype)
    return left.to(dtype), right.to(dtype)
