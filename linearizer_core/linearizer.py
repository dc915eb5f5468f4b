r"""The linearizer: a nonlinear map that is exactly linear between two induced spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.errors import NotEndomorphismError, ShapeMismatchError, SpaceMismatchError
from linearizer_core.operators import SVD, Dense, LinearOperator, ScaledIdentity
from linearizer_core.space import InducedSpace, Invertible


class Linearizer:
    r""":math:`f(x) = g_y^{-1}(A\, g_x(x))`: exactly linear from the induced space of gx to that of gy (arXiv 2510.08570, definition 1).

    .. math::
        f(a \odot_x u \,\oplus_x\, b \odot_x v) = a \odot_y f(u) \,\oplus_y\, b \odot_y f(v)

    Whatever the algebra does to A, it does to f; so every operation here returns a `Linearizer` and costs what it costs on A. The object
    is immutable and has no parameters of its own.

    Args:
        gx: the bijection (or induced space) of the domain.
        operator: A, of shape ``(dim of gy, dim of gx)``; a matrix becomes a `Dense` operator.
        gy: the bijection (or induced space) of the codomain; gx when left out.

    Raises:
        ShapeMismatchError: when A does not fit the two dimensions.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Identity
        >>> f = Linearizer(Identity((2,)), torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        >>> f(torch.tensor([[1.0, 2.0]]))
        tensor([[2., 1.]])
        >>> (f @ f)(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """

    __slots__ = ("codomain", "domain", "operator")

    def __init__(self, gx: Invertible | InducedSpace, operator: LinearOperator | Tensor, gy: Invertible | InducedSpace | None = None) -> None:
        self.domain = _space(gx)
        operator = Dense(operator) if isinstance(operator, Tensor) else operator
        self.operator: LinearOperator = operator
        self.codomain = self.domain if gy is None else _space(gy)
        if operator.shape != (self.codomain.dim, self.domain.dim):
            raise ShapeMismatchError(
                f"the operator has shape {operator.shape}, but the bijections map {self.domain.dim} dimensions to {self.codomain.dim}; "
                f"give an operator of shape {(self.codomain.dim, self.domain.dim)}"
            )

    def __call__(self, x: Tensor) -> Tensor:
        """``f(x)`` of a batch ``(B, *domain.shape)``, shape ``(B, *codomain.shape)``.

        The operator may be of another dtype than the bijections: the latent is applied in the wider one, and returns to its own.
        """
        latent = self.domain.to_latent(x)
        return self.codomain.from_latent(self.operator(latent).to(latent.dtype))

    # --- algebra -----------------------------------------------------------------------------

    def __matmul__(self, other: Linearizer) -> Linearizer:
        r"""Composition ``(self @ other)(x) = self(other(x))``, with the core :math:`A_2 A_1`.

        Raises:
            SpaceMismatchError: unless the codomain of ``other`` is the domain of ``self``: the same bijection object under the same condition.
        """
        if not isinstance(other, Linearizer):
            return NotImplemented
        if other.codomain != self.domain:
            raise SpaceMismatchError(
                f"cannot compose: the inner map ends in {other.codomain!r}, the outer one starts from {self.domain!r}; "
                "both must be the same bijection object under the same condition (call one after the other instead: g(f(x)))"
            )
        return Linearizer(other.domain, self.operator @ other.operator, self.codomain)

    def __pow__(self, exponent: float) -> Linearizer:
        """Iteration: ``f ** 3 = f @ f @ f``; real powers where A has them, negative ones where it is invertible.

        Raises:
            NotEndomorphismError: unless gx is gy.
            SingularOperatorError, UndefinedPowerError: where A has no such power.
        """
        self._require_endomorphism("a power")
        return Linearizer(self.domain, self.operator.power(exponent))

    def expm(self, t: float = 1.0) -> Linearizer:
        r"""The flow :math:`f_t` with core :math:`\exp(tA)`; :math:`f_s \circ f_t = f_{s+t}`.

        Raises:
            NotEndomorphismError: unless gx is gy.
        """
        self._require_endomorphism("an exponential")
        return Linearizer(self.domain, self.operator.expm(t))

    def evolve(self, x: Tensor, t: float | Tensor) -> Tensor:
        r"""The flow of the generator A: :math:`x(t) = g^{-1}(e^{tA} g(x))`, for a batch ``x`` ``(B, *shape)`` with one time for all or one for each, ``(B,)``.

        ``t`` may be any real number: negative times run backward.

        Raises:
            NotEndomorphismError: unless gx is gy.
            ShapeMismatchError: for another number of times than of examples.
        """
        self._require_endomorphism("a flow")
        latent = self.domain.to_latent(x)
        return self.domain.from_latent(self.operator.evolve(latent, t).to(latent.dtype))

    @property
    def T(self) -> Linearizer:
        r"""The adjoint with respect to the induced inner products: :math:`\langle f(u), v\rangle_y = \langle u, f^T(v)\rangle_x`."""
        return Linearizer(self.codomain, self.operator.T, self.domain)

    def inverse(self) -> Linearizer:
        r"""The inverse, with core :math:`A^{-1}`.

        Raises:
            ShapeMismatchError, SingularOperatorError: where A has none; `pinv` always exists.
        """
        return Linearizer(self.codomain, self.operator.inverse(), self.domain)

    def pinv(self, rtol: float | None = None) -> Linearizer:
        """The Moore-Penrose pseudo-inverse between the two induced spaces; singular values below ``rtol`` times the largest count as zero."""
        return Linearizer(self.codomain, self.operator.pinv(rtol), self.domain)

    def svd(self) -> InducedSVD:
        """The singular value decomposition; its singular vectors are points of the two spaces."""
        return InducedSVD(self.domain, self.codomain, self.operator.svd())

    def range_projector(self, rtol: float | None = None) -> Linearizer:
        r"""The orthogonal projector of the codomain onto the range of f, with core :math:`A A^+`."""
        return Linearizer(self.codomain, self.operator @ self.operator.pinv(rtol))

    def null_projector(self, rtol: float | None = None) -> Linearizer:
        r"""The orthogonal projector of the domain onto the null space of f, with core :math:`I - A^+ A`."""
        identity = ScaledIdentity(1.0, self.domain.dim, dtype=self.operator.dtype, device=self.operator.device)
        return Linearizer(self.domain, identity - self.operator.pinv(rtol) @ self.operator)

    def project(self, y: Tensor, rtol: float | None = None) -> Tensor:
        """The point of the range of f that is nearest to ``y`` in the metric of the codomain."""
        return self.range_projector(rtol)(y)

    @staticmethod
    def mix(linearizers: Sequence[Linearizer], weights: Sequence[float]) -> Linearizer:
        r"""The map with core :math:`\sum_k w_k A_k`: styles mix as matrices.

        Raises:
            ShapeMismatchError: for no map, or another number of weights than of maps.
            SpaceMismatchError: unless all maps share domain and codomain.
        """
        if not linearizers or len(linearizers) != len(weights):
            raise ShapeMismatchError(f"mix needs at least one map and one weight for each, got {len(linearizers)} maps and {len(weights)} weights")
        first = linearizers[0]
        for index, other in enumerate(linearizers):
            if other.domain != first.domain or other.codomain != first.codomain:
                raise SpaceMismatchError(
                    f"map {index} runs {other.domain!r} -> {other.codomain!r}, map 0 {first.domain!r} -> {first.codomain!r}; "
                    "mixing needs the same bijection objects under the same conditions"
                )
        operator = first.operator * float(weights[0])
        for other, weight in zip(linearizers[1:], weights[1:], strict=True):
            operator = operator + other.operator * float(weight)
        return Linearizer(first.domain, operator, first.codomain)

    # --- facts -----------------------------------------------------------------------------------

    @property
    def is_endomorphism(self) -> bool:
        """Whether gx is gy, so that powers and exponentials exist."""
        return self.domain == self.codomain

    def rank(self, rtol: float | None = None) -> int:
        """The dimension of the range."""
        return self.operator.rank(rtol)

    def _require_endomorphism(self, what: str) -> None:
        if not self.is_endomorphism:
            raise NotEndomorphismError(
                f"{what} needs a map from a space to itself, this one runs {self.domain!r} -> {self.codomain!r}; "
                "build it with one bijection object for gx and gy"
            )

    def __repr__(self) -> str:
        return f"Linearizer({self.domain!r} -> {self.codomain!r}, {self.operator!r})"


@dataclass(frozen=True)
class InducedSVD:
    r""":math:`f(x) = \bigoplus_i s_i \langle v_i, x\rangle_g \odot u_i`: the decomposition of A, read through the two bijections."""

    domain: InducedSpace
    codomain: InducedSpace
    core: SVD

    @property
    def values(self) -> Tensor:
        """The singular values that are written out, descending, shape ``(k,)``."""
        return self.core.values

    def left(self, k: int | None = None) -> Tensor:
        """The first ``k`` left singular vectors as points of the codomain, ``(k, *shape)``."""
        return self.codomain.from_latent(self.core.left[:, :k].T.contiguous())

    def right(self, k: int | None = None) -> Tensor:
        """The first ``k`` right singular vectors as points of the domain, ``(k, *shape)``."""
        return self.domain.from_latent(self.core.right[:, :k].T.contiguous())

    def reconstruct(self, x: Tensor, k: int | None = None) -> Tensor:
        """f truncated to its first ``k`` written-out singular triplets, applied to ``x``; all of them, and the tail, when ``k`` is left out."""
        latent = self.domain.to_latent(x)
        wide = latent.to(torch.promote_types(latent.dtype, self.core.right.dtype))
        left, values, right = (tensor.to(wide.dtype) for tensor in (self.core.left, self.core.values, self.core.right))
        coefficients = wide @ right
        out = (coefficients[:, :k] * values[:k]) @ left[:, :k].T
        if k is None and self.core.tail:
            out = out + self.core.tail * (wide - coefficients @ right.T)
        return self.codomain.from_latent(out.to(latent.dtype))


def _space(g: Invertible | InducedSpace) -> InducedSpace:
    return g if isinstance(g, InducedSpace) else InducedSpace(g)
