"""Functions of small matrices in float64: what the structured kinds reduce their own functions to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linearizer_core.errors import SingularOperatorError, UndefinedPowerError

TAYLOR = ((1, 2), (2, 2), (2, 3), (3, 3), (3, 4), (4, 4))
"""Taylor polynomials of exp with k blocks of s powers each, of degree k s; each costs one matrix product more than the one before."""

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
    reciprocal_condition = 1 / (one_norm(matrix) * one_norm(result)).item() if not int(info) else 0.0
    if not reciprocal_condition > precision:
        raise SingularOperatorError(f"reciprocal condition number {reciprocal_condition:.1e}, expected above {precision:.1e}; use pinv")
    return result


def expm(matrix: Tensor) -> Tensor:
    r"""The exponentials of matrices ``(..., n, n)``, NaN for those that are not finite.

    Scaling and squaring of the shortest Taylor polynomial that is exact to the dtype (Bader, Blanes, Casas, doi 10.3390/math7121174): products only, which
    are fast for many small matrices at once, and few where the norm is small.

    Ours, because ``torch.linalg.matrix_exp`` of a single matrix is wrong by up to 2e-10 in float64 (1-norm 3e-4 to 5e-2; pytorch#196592, in 2.14.1 too).
    """
    if not matrix.numel():
        return matrix
    half_eps = torch.finfo(matrix.dtype).eps / 2
    radii = [(math.factorial(blocks * size + 1) * half_eps) ** (1 / (blocks * size + 1)) for blocks, size in TAYLOR]
    norms = one_norm(matrix.detach())
    finite = norms.isfinite()
    squarings = torch.where(finite, (norms / radii[-1]).log2().ceil(), 0).clamp(min=0)
    x = matrix / 2 ** squarings[..., None, None] if bool(squarings.any()) else matrix
    x = x if bool(finite.all()) else torch.where(finite[..., None, None], x, torch.nan)
    largest = torch.where(finite, norms / 2**squarings, 0).max().item()
    result = _taylor(x, *next((choice for choice, radius in zip(TAYLOR, radii, strict=True) if largest <= radius), TAYLOR[-1]))
    for done in range(int(squarings.max().item())):
        result = torch.where((squarings > done)[..., None, None], result @ result, result)
    return result


def phi_1(matrix: Tensor) -> Tensor:
    r"""The entire function :math:`\varphi_1(X) = (e^X - I) X^{-1}` of matrices ``(..., n, n)``, singular ones too, from one augmented exponential each."""
    size = matrix.shape[-1]
    identity = torch.eye(size, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    augmented = torch.cat([torch.cat([matrix, identity], dim=-1), matrix.new_zeros(*matrix.shape[:-1], 2 * size)], dim=-2)
    return expm(augmented)[..., :size, size:]


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
    power, rebuilt = (_with_eigenvalues(vectors, values).real for values in (eigenvalues.pow(exponent), eigenvalues))
    if not (rebuilt - matrix).norm().item() <= RECONSTRUCTION_TOLERANCE * matrix.norm().item():
        raise UndefinedPowerError(_undefined(exponent, "the operator has no well-conditioned basis of eigenvectors"))
    return power


def principal_powers(matrices: Tensor, exponent: float, precision: float) -> Tensor:
    """The principal powers of complex matrices ``(..., n, n)`` that are one operator together, for a positive exponent.

    Raises:
        UndefinedPowerError: when an eigenvalue lies on the closed negative axis (where all are Hermitian: on the open one), or a matrix is too close to one
            without a basis of eigenvectors.
    """
    size = matrices.norm().item()
    if (matrices - matrices.mH).norm().item() <= precision * size:
        values, basis = torch.linalg.eigh((matrices + matrices.mH) / 2)
        if values.min().item() < -precision * values.abs().max().item():
            raise UndefinedPowerError(_undefined(exponent, f"the symmetric operator has the eigenvalue {values.min().item():.3g} < 0"))
        powers: Tensor = (basis * values.clamp(min=0).pow(exponent)[..., None, :]) @ basis.mH
        return powers
    eigenvalues, vectors = torch.linalg.eig(matrices)
    threshold = precision * eigenvalues.abs().max().item()
    offending = (eigenvalues.real <= threshold) & (eigenvalues.imag.abs() <= threshold)
    if bool(offending.any()):
        raise UndefinedPowerError(_undefined(exponent, f"the spectrum touches the closed negative axis at {eigenvalues[offending][0].real.item():.3g}"))
    power, rebuilt = (_with_eigenvalues(vectors, values) for values in (eigenvalues.pow(exponent), eigenvalues))
    if not (rebuilt - matrices).norm().item() <= RECONSTRUCTION_TOLERANCE * size:
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
    solution, _ = torch.linalg.solve_ex(vectors.mT, (vectors * values[..., None, :]).mT)
    return solution.mT


def _taylor(x: Tensor, blocks: int, size: int) -> Tensor:
    """The Taylor polynomial of exp of degree ``blocks * size``, by Horner's rule in the power ``size`` (Paterson and Stockmeyer)."""
    powers = [x]
    while len(powers) < size:
        powers.append(powers[-1] @ x)
    result = powers[-1] / math.factorial(blocks * size)
    for block in reversed(range(blocks)):
        result = result if block == blocks - 1 else result @ powers[-1]
        for offset, power in enumerate(powers[:-1], start=1):
            result = torch.add(result, power, alpha=1 / math.factorial(block * size + offset))
        result.diagonal(dim1=-2, dim2=-1).add_(1 / math.factorial(block * size))
    return result


def one_norm(matrix: Tensor) -> Tensor:
    """The 1-norms ``(...)`` of matrices ``(..., m, n)``."""
    return matrix.abs().sum(dim=-2).amax(dim=-1)


def _undefined(exponent: float, reason: str) -> str:
    return f"power {exponent} does not exist over the reals: {reason}; use an integer power, or expm of a generator"
