"""Products and sums that no structured kind can hold: kept as they are, and applied one after another."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from linearizer_core.errors import ArtifactError, ShapeMismatchError
from linearizer_core.operators.base import LinearOperator, Scalar
from linearizer_core.operators.scaled_identity import ScaledIdentity


@final
class Product(LinearOperator):
    r""":math:`A_1 A_2 \cdots A_n`, applied from the right. Products of products are flattened, neighbours that fit are merged.

    Functions of it form a dense matrix below `DENSE_LIMIT` and raise `DenseLimitError` above; inverses of square factors and integer powers stay lazy.

    Raises:
        ShapeMismatchError: when neighbouring factors do not fit together.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal, IdentityPlusLowRank
        >>> u = torch.ones(2, 1)
        >>> a = Diagonal(torch.tensor([1.0, 2.0])) @ IdentityPlusLowRank(1.0, u, u)
        >>> type(a).__name__, a(torch.tensor([1.0, 0.0]))
        ('Product', tensor([2., 2.]))
    """

    kind: ClassVar[str] = "product"
    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *factors: LinearOperator) -> None:
        for first, second in pairwise(factors):
            if first.shape[1] != second.shape[0]:
                raise ShapeMismatchError(f"Product: {first!r} takes {first.shape[1]} inputs, {second!r} gives {second.shape[0]}; they must be equal")
        self.factors = _flattened(Product, factors)

    @property
    def shape(self) -> tuple[int, int]:
        return self.factors[0].shape[0], self.factors[-1].shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.factors[0].dtype

    @property
    def device(self) -> torch.device:
        return self.factors[0].device

    @property
    def T(self) -> Product:
        return Product(*(factor.T for factor in reversed(self.factors)))

    def tensors(self) -> dict[str, Tensor]:
        return _prefixed_tensors(self.factors)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        return cls(*_parsed_operands(cls.kind, tensors))

    def _apply(self, z: Tensor) -> Tensor:
        return reduce(lambda value, factor: factor._apply(value), reversed(self.factors), z)

    def _scale(self, factor: Scalar) -> Product:
        return Product(self.factors[0]._scale(factor), *self.factors[1:])

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Product):
            return reduce(operator.matmul, other.factors, self)
        merged = self.factors[-1] @ other
        return Product(*self.factors, other) if isinstance(merged, Product) else _chain(self.factors[:-1]) @ merged

    def _rmatmul(self, other: LinearOperator) -> LinearOperator | None:
        merged = other @ self.factors[0]
        return Product(other, *self.factors) if isinstance(merged, Product) else merged @ _chain(self.factors[1:])

    def inverse(self) -> LinearOperator:
        if any(factor.shape[0] != factor.shape[1] for factor in self.factors):
            return super().inverse()
        return _chain(tuple(factor.inverse() for factor in reversed(self.factors)))

    def _dense(self) -> Tensor:
        # From the side with fewer vectors: a tall product of small ones is formed without a large intermediate.
        return super()._dense() if self.shape[1] <= self.shape[0] else self.T._dense().mT

    def _map(self, function: Callable[[Tensor], Tensor]) -> Product:
        return Product(*(factor._map(function) for factor in self.factors))


@final
class Sum(LinearOperator):
    r""":math:`A_1 + \cdots + A_n` of one shape. Sums of sums are flattened, terms that fit are merged.

    Functions of it form a dense matrix below `DENSE_LIMIT` and raise `DenseLimitError` above.

    Raises:
        ShapeMismatchError: when the terms differ in shape.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal, LowRank
        >>> u = torch.ones(2, 1)
        >>> a = Diagonal(torch.tensor([1.0, 2.0])) + LowRank(u, u)
        >>> type(a).__name__, (a + Diagonal(torch.ones(2)))(torch.tensor([1.0, 0.0]))
        ('Sum', tensor([3., 1.]))
    """

    kind: ClassVar[str] = "sum"
    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *terms: LinearOperator) -> None:
        if len({term.shape for term in terms}) != 1:
            raise ShapeMismatchError(f"Sum of {', '.join(map(repr, terms))}: expected equal shapes")
        self.terms = _flattened(Sum, terms)

    @property
    def shape(self) -> tuple[int, int]:
        return self.terms[0].shape

    @property
    def dtype(self) -> torch.dtype:
        return self.terms[0].dtype

    @property
    def device(self) -> torch.device:
        return self.terms[0].device

    @property
    def T(self) -> Sum:
        return Sum(*(term.T for term in self.terms))

    def tensors(self) -> dict[str, Tensor]:
        return _prefixed_tensors(self.terms)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        return cls(*_parsed_operands(cls.kind, tensors))

    def _apply(self, z: Tensor) -> Tensor:
        return reduce(torch.add, (term._apply(z) for term in self.terms))

    def _scale(self, factor: Scalar) -> Sum:
        return Sum(*(term._scale(factor) for term in self.terms))

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, Sum):
            return reduce(operator.add, other.terms, self)
        if isinstance(other, ScaledIdentity) and other.is_exactly(0):
            return self
        for index, term in enumerate(self.terms):
            merged = term + other
            if not isinstance(merged, Sum):
                rest = self.terms[:index] + self.terms[index + 1 :]
                return reduce(operator.add, rest, merged)
        return Sum(*self.terms, other)

    def _dense(self) -> Tensor:
        return reduce(torch.add, (term._dense() for term in self.terms))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Sum:
        return Sum(*(term._map(function) for term in self.terms))


def _flattened(kind: type[Product] | type[Sum], operands: tuple[LinearOperator, ...]) -> tuple[LinearOperator, ...]:
    dtype = reduce(torch.promote_types, (operand.dtype for operand in operands))
    flat: list[LinearOperator] = []
    for operand in operands:
        if isinstance(operand, kind):
            flat.extend(operand.factors if isinstance(operand, Product) else operand.terms)
        else:
            flat.append(operand)
    return tuple(operand.to(dtype) for operand in flat)


def _chain(factors: tuple[LinearOperator, ...]) -> LinearOperator:
    return factors[0] if len(factors) == 1 else Product(*factors)


def _prefixed_tensors(operands: tuple[LinearOperator, ...]) -> dict[str, Tensor]:
    """Tensors under ``index:kind.name``; nested operands nest the prefix."""
    return {f"{index}:{operand.kind}.{name}": tensor for index, operand in enumerate(operands) for name, tensor in operand.tensors().items()}


def _parsed_operands(owner: str, tensors: Mapping[str, Tensor]) -> list[LinearOperator]:
    from linearizer_core.operators.kinds import kind_named

    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        groups.setdefault(prefix, {})[rest] = tensor
    indexed = {index: (kind, group) for (index, _, kind), group in ((prefix.partition(":"), group) for prefix, group in groups.items())}
    if not indexed or len(indexed) != len(groups) or set(indexed) != {str(index) for index in range(len(indexed))}:
        raise ArtifactError(f"operator of kind {owner!r}: found operands {sorted(groups)}, expected '0:kind', '1:kind', ... without gaps; the file was edited")
    return [kind_named(kind).from_tensors(group) for kind, group in (indexed[str(index)] for index in range(len(indexed)))]
