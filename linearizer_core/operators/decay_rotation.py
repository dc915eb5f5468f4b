"""Blocks that rotate and decay: what every real matrix with a basis of eigenvectors is, up to a change of basis."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError, UndefinedPowerError
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.matrix_functions import elementwise_power, reciprocal_above
from linearizer_core.operators.scaled_identity import ScaledIdentity


@final
class DecayRotation(LinearOperator):
    r"""Blocks :math:`\begin{pmatrix} a_k & -b_k \\ b_k & a_k \end{pmatrix}` on pairs of coordinates, then a diagonal ``rest`` on the coordinates left over.

    A pair :math:`(z_{2k}, z_{2k+1})` is one complex number, and its block multiplies that by :math:`c_k = a_k + i b_k`. So functions of the operator are
    functions of P complex and R real numbers: exponentials, powers, inverses, products and sums of two of the same layout are exact and cost O(D).
    As a generator, :math:`a_k` is the rate at which a pair grows (below 0: decays) and :math:`b_k` its angular frequency:
    :math:`e^{tA}` turns it by :math:`t b_k` and scales it by :math:`e^{t a_k}`. D = 2 P + R.

    Arguments:
        rates: a, ``(P,)``.
        frequencies: b, ``(P,)``.
        rest: the diagonal of the other coordinates, ``(R,)``.

    Raises:
        ShapeMismatchError: when these are not vectors, or ``rates`` and ``frequencies`` differ in length.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import DecayRotation
        >>> quarter = DecayRotation(torch.zeros(1), torch.full((1,), torch.pi / 2), torch.tensor([-1.0])).expm(1.0)
        >>> quarter(torch.tensor([1.0, 0.0, 1.0])).round(decimals=4) + 0.0
        tensor([0.0000, 1.0000, 0.3679])
    """

    kind: ClassVar[str] = "decay_rotation"
    fields: ClassVar[tuple[str, ...]] = ("rates", "frequencies", "rest")

    def __init__(self, rates: Tensor, frequencies: Tensor, rest: Tensor) -> None:
        if rates.ndim != 1 or rates.shape != frequencies.shape or rest.ndim != 1:
            given = ", ".join(str(tuple(tensor.shape)) for tensor in (rates, frequencies, rest))
            raise ShapeMismatchError(f"DecayRotation: rates, frequencies and rest have shapes {given}; expected (P,), (P,) and (R,)")
        self.rates = rates
        self.frequencies = frequencies
        self.rest = rest

    @property
    def shape(self) -> tuple[int, int]:
        dim = 2 * len(self.rates) + len(self.rest)
        return dim, dim

    @property
    def dtype(self) -> torch.dtype:
        return self.rates.dtype

    @property
    def device(self) -> torch.device:
        return self.rates.device

    @property
    def T(self) -> DecayRotation:
        return DecayRotation(self.rates, -self.frequencies, self.rest)

    def _apply(self, z: Tensor) -> Tensor:
        return multiply_pairs(z, self.rates, self.frequencies, self.rest)

    def _scale(self, factor: Scalar) -> DecayRotation:
        return DecayRotation(self.rates * factor, self.frequencies * factor, self.rest * factor)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if not isinstance(other, DecayRotation) or other.rates.shape != self.rates.shape:
            return None
        real = self.rates * other.rates - self.frequencies * other.frequencies
        imaginary = self.rates * other.frequencies + self.frequencies * other.rates
        return DecayRotation(real, imaginary, self.rest * other.rest)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, ScaledIdentity):
            return DecayRotation(self.rates + other.scale, self.frequencies, self.rest + other.scale)
        if not isinstance(other, DecayRotation) or other.rates.shape != self.rates.shape:
            return None
        return DecayRotation(self.rates + other.rates, self.frequencies + other.frequencies, self.rest + other.rest)

    def inverse(self) -> DecayRotation:
        zeros = 2 * int((self._complex == 0).sum()) + int((self.rest == 0).sum())
        if zeros:
            raise SingularOperatorError(f"inverse of {self!r}: it maps {zeros} coordinates to 0, expected none; use pinv")
        return self._with(torch.reciprocal, torch.reciprocal)

    def pinv(self, rtol: float | None = None) -> DecayRotation:
        cutoff = self._relative_tolerance(rtol) * self.norm()
        return self._with(lambda c: c.conj() * reciprocal_above(c.abs(), cutoff).square(), lambda values: reciprocal_above(values, cutoff))

    def trace(self) -> Tensor:
        return 2 * self.rates.sum() + self.rest.sum()

    def expm(self, t: float = 1.0) -> DecayRotation:
        return self._with(lambda c: (t * c).exp(), lambda values: (t * values).exp())

    def _evolve(self, z: Tensor, t: Tensor) -> Tensor:
        return evolve_pairs(z, t, self.rates.double(), self.frequencies.double(), self.rest.double())

    def _integer_power(self, n: int) -> DecayRotation:
        return self._with(lambda c: c**n, lambda values: values**n)

    def _real_power(self, exponent: float) -> DecayRotation:
        c = self._complex
        if bool(((c.imag == 0) & (c.real < 0)).any()):
            raise UndefinedPowerError(f"power {exponent} of {self!r} does not exist over the reals: a pair has the eigenvalue {c.real.min().item():.3g} < 0")
        if exponent < 0 and bool((c == 0).any()):
            raise SingularOperatorError(f"power {exponent} of an operator with the eigenvalue 0; expected a regular operator: use pinv first")
        return self._with(lambda values: values**exponent, lambda values: elementwise_power(values, exponent))

    def _dense(self) -> Tensor:
        pairs = 2 * torch.arange(len(self.rates), device=self.device)
        rows, columns = torch.cat([pairs, pairs + 1]), torch.cat([pairs + 1, pairs])
        across = torch.zeros(self.shape, dtype=self.dtype, device=self.device).index_put((rows, columns), torch.cat([-self.frequencies, self.frequencies]))
        return across + torch.diag(torch.cat([self.rates.repeat_interleave(2), self.rest]))

    def _svd(self) -> SVD:
        # A pair of singular values |c|, with unit vectors on the right and their images, rotated by the angle of c, on the left.
        self._limited_dense("svd")
        turned = self._with(lambda c: torch.where(c == 0, 1, torch.sgn(c)), lambda values: torch.where(values == 0, 1, values.sign())).to(torch.float64)
        values = self._singular_values()[0]
        order = values.argsort(descending=True)
        return SVD(turned._dense()[:, order], values[order], torch.eye(len(values), dtype=torch.float64, device=self.device)[:, order])

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        values = torch.cat([self._complex.abs().repeat_interleave(2), self.rest.double().abs()])
        return values, torch.ones_like(values, dtype=torch.int64)

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps

    @property
    def _complex(self) -> Tensor:
        """The blocks as complex numbers, in double precision."""
        return torch.complex(self.rates.double(), self.frequencies.double())

    def _with(self, of_pairs: Callable[[Tensor], Tensor], of_rest: Callable[[Tensor], Tensor]) -> DecayRotation:
        """The operator whose blocks and rest went through functions of complex and of real numbers, in double precision."""
        pairs, rest = of_pairs(self._complex), of_rest(self.rest.double())
        return DecayRotation(pairs.real.to(self.dtype), pairs.imag.to(self.dtype), rest.to(self.dtype))


def multiply_pairs(z: Tensor, real: Tensor, imaginary: Tensor, rest: Tensor) -> Tensor:
    """Pairs of ``z`` ``(..., D)``, as complex numbers, times ``real + i imaginary`` ``(..., P)``; what is left over times ``rest`` ``(..., R)``."""
    size = 2 * real.shape[-1]
    first, second = z[..., 0:size:2], z[..., 1:size:2]
    pairs = torch.stack([real * first - imaginary * second, imaginary * first + real * second], dim=-1).flatten(-2)
    return torch.cat([pairs, rest * z[..., size:]], dim=-1)


def evolve_pairs(z: Tensor, t: Tensor, rates: Tensor, frequencies: Tensor, rest: Tensor) -> Tensor:
    r""":math:`e^{tA} z` for blocks of these rates and frequencies, which may differ from row to row: all in one dtype, broadcast against each other."""
    time = t[..., None]
    growth, angle = (time * rates).exp(), time * frequencies
    return multiply_pairs(z, growth * angle.cos(), growth * angle.sin(), (time * rest).exp())
