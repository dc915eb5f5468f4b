"""Functions of small matrices in float64: what the structured kinds reduce their own functions to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linearizer_core.errors import SingularOperatorError, UndefinedPowerError

PADE = tuple(math.comb(13, j) / math.perm(26, j) for j in range(14))
"""Coefficients of the numerator of the [13/13] Pade approximant of exp; the denominator has them with alternating signs."""

PADE_RADIUS = 5.371920351148152
"""Up to this 1-norm that approximant is exact to float64."""

RECONSTRUCTION_TOLERANCE = 1e-9
"""An eigendecomposition that reproduces its matrix less well than this is not used for powers."""


def inverse(matrix: Tensor, precision: float) -> Tensor:
    """The inverse of a float64 matrix.

    Raises:
        SingularOperatorError: when the reciprocal condition number (in the 1-norm) is not above ``precision``.
    """
    if not len(matrix):
        return matrix
    result: Tensor
    result, info = torch.linalg.inv_ex(matrix)
    reciprocal_condition = 1 / (_one_norm(matrix) * _one_norm(result)).item() if not int(info) else 0.0
    if not reciprocal_condition > precision:
        raise SingularOperatorError(f"reciprocal condition number {reciprocal_condition:.1e}, expected above {precision:.1e}; use pinv")
    return result


def expm(matrix: Tensor) -> Tensor:
    r"""The exponential of a float64 matrix, by the [13/13] Pade approximant with scaling and squaring (Higham, doi 10.1137/04061101X).

    Ours, because ``torch.linalg.matrix_exp`` of a single matrix is wrong by up to 2e-10 in float64 (1-norm 3e-4 to 5e-2; pytorch#196592, in 2.14.1 too).
    """
    if not len(matrix):
        return matrix
    # frexp keeps a norm that is infinite or NaN out of the exponent: such a matrix gives NaN.
    squarings = max(0, math.frexp(_one_norm(matrix).item() / PADE_RADIUS)[1])
    x = matrix / 2**squarings
    square = x @ x
    term = torch.eye(len(x), dtype=x.dtype, device=x.device)
    even, odd = torch.zeros_like(x), torch.zeros_like(x)
    for j in range(0, len(PADE), 2):
        even = even + PADE[j] * term
        odd = odd + PADE[j + 1] * term
        term = term @ square
    odd = x @ odd
    result: Tensor = torch.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result


def phi_1(matrix: Tensor) -> Tensor:
    r"""The entire function :math:`\varphi_1(X) = (e^X - I) X^{-1}`, defined for singular X too, from one augmented exponential."""
    size = len(matrix)
    augmented = torch.cat([torch.cat([matrix, torch.eye(size, dtype=matrix.dtype, device=matrix.device)], dim=1), matrix.new_zeros(size, 2 * size)])
    return expm(augmented)[:size, size:]


def real_power(matrix: Tensor, exponent: float, precision: float) -> Tensor:
    """The principal power of a float64 matrix.

    Raises:
        SingularOperatorError: for a negative exponent of a singular matrix.
        UndefinedPowerError: when an eigenvalue lies on the closed negative axis (for a symmetric matrix: on the open one), or the matrix
            is too close to one without a basis of eigenvectors.
    """
    if not len(matrix):
        return matrix
    if exponent < 0:
        return real_power(inverse(matrix, precision), -exponent, precision)
    if (matrix - matrix.mT).norm().item() <= precision * matrix.norm().item():
        values: Tensor
        values, basis = torch.linalg.eigh((matrix + matrix.mT) / 2)
        if values.min().item() < -precision * values.abs().max().item():
            raise UndefinedPowerError(_undefined(exponent, f"the symmetric operator has the eigenvalue {values.min().item():.3g} < 0"))
        powers: Tensor = (basis * values.clamp(min=0).pow(exponent)) @ basis.mT
        return powers
    eigenvalues, vectors = torch.linalg.eig(matrix)
    threshold = precision * eigenvalues.abs().max().item()
    offending = (eigenvalues.real <= threshold) & (eigenvalues.imag.abs() <= threshold)
    if bool(offending.any()):
        raise UndefinedPowerError(_undefined(exponent, f"the spectrum touches the closed negative axis at {eigenvalues[offending][0].real.item():.3g}"))
    power, rebuilt = (_with_eigenvalues(vectors, values) for values in (eigenvalues.pow(exponent), eigenvalues))
    if not (rebuilt - matrix).norm().item() <= RECONSTRUCTION_TOLERANCE * matrix.norm().item():
        raise UndefinedPowerError(_undefined(exponent, "the operator has no well-conditioned basis of eigenvectors"))
    return power


def elementwise_power(values: Tensor, exponent: float) -> Tensor:
    """Powers of the diagonal entries of an operator, for a real (not integer) exponent.

    Raises:
        SingularOperatorError: for a negative exponent of zero.
        UndefinedPowerError: for an entry below zero.
    """
    if bool((values < 0).any()):
        raise UndefinedPowerError(_undefined(exponent, f"the operator has the eigenvalue {values.min().item():.3g} < 0"))
    if exponent < 0 and bool((values == 0).any()):
        raise SingularOperatorError(f"power {exponent} of an operator with the eigenvalue 0; expected a regular operator: use pinv first")
    return values.pow(exponent)


def reciprocal_above(values: Tensor, cutoff: float) -> Tensor:
    """``1/v`` where ``|v|`` is above ``cutoff`` (at least 0), else 0."""
    kept = values.abs() > cutoff
    return torch.where(kept, 1 / torch.where(kept, values, torch.ones_like(values)), torch.zeros_like(values))


def _with_eigenvalues(vectors: Tensor, values: Tensor) -> Tensor:
    solution: Tensor
    solution, _ = torch.linalg.solve_ex(vectors.mT, (vectors * values).mT)
    return solution.mT.real


def _one_norm(matrix: Tensor) -> Tensor:
    return matrix.abs().sum(dim=0).max()


def _undefined(exponent: float, reason: str) -> str:
    return f"power {exponent} does not exist over the reals: {reason}; use an integer power, or expm of a generator"
