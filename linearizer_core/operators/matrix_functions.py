"""Functions of small matrices in float64: what the structured kinds reduce their own functions to."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.errors import SingularOperatorError, UndefinedPowerError

RECONSTRUCTION_TOLERANCE = 1e-9
"""An eigendecomposition that reproduces its matrix less well than this is not used for powers."""


def inverse(matrix: Tensor, precision: float) -> Tensor:
    """The inverse of a float64 matrix.

    Raises:
        SingularOperatorError: when the reciprocal condition number (in the 1-norm) is not above ``precision``.
    """
    if not len(matrix):
        return matrix
    result, info = torch.linalg.inv_ex(matrix)
    reciprocal_condition = 1 / float(_one_norm(matrix) * _one_norm(result)) if not int(info) else 0.0
    if not reciprocal_condition > precision:
        raise SingularOperatorError(f"reciprocal condition number {reciprocal_condition:.1e}, expected above {precision:.1e}; use pinv")
    return result


def phi_1(matrix: Tensor) -> Tensor:
    r"""The entire function :math:`\varphi_1(X) = (e^X - I) X^{-1}`, defined for singular X too, from one augmented exponential."""
    size = len(matrix)
    augmented = torch.cat([torch.cat([matrix, torch.eye(size, dtype=matrix.dtype, device=matrix.device)], dim=1), matrix.new_zeros(size, 2 * size)])
    return torch.linalg.matrix_exp(augmented)[:size, size:]


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
    if float((matrix - matrix.mT).norm()) <= precision * float(matrix.norm()):
        values, basis = torch.linalg.eigh((matrix + matrix.mT) / 2)
        if float(values.min()) < -precision * float(values.abs().max()):
            raise UndefinedPowerError(_undefined(exponent, f"the symmetric operator has the eigenvalue {float(values.min()):.3g} < 0"))
        return (basis * values.clamp(min=0) ** exponent) @ basis.mT
    eigenvalues, vectors = torch.linalg.eig(matrix)
    threshold = precision * float(eigenvalues.abs().max())
    offending = (eigenvalues.real <= threshold) & (eigenvalues.imag.abs() <= threshold)
    if bool(offending.any()):
        raise UndefinedPowerError(_undefined(exponent, f"the spectrum touches the closed negative axis at {float(eigenvalues[offending][0].real):.3g}"))
    power, rebuilt = (_with_eigenvalues(vectors, values) for values in (eigenvalues**exponent, eigenvalues))
    if not float((rebuilt - matrix).norm()) <= RECONSTRUCTION_TOLERANCE * float(matrix.norm()):
        raise UndefinedPowerError(_undefined(exponent, "the operator has no well-conditioned basis of eigenvectors"))
    return power


def elementwise_power(values: Tensor, exponent: float) -> Tensor:
    """Powers of the diagonal entries of an operator, for a real (not integer) exponent.

    Raises:
        SingularOperatorError: for a negative exponent of zero.
        UndefinedPowerError: for an entry below zero.
    """
    if bool((values < 0).any()):
        raise UndefinedPowerError(_undefined(exponent, f"the operator has the eigenvalue {float(values.min()):.3g} < 0"))
    if exponent < 0 and bool((values == 0).any()):
        raise SingularOperatorError(f"power {exponent} of an operator with the eigenvalue 0; expected a regular operator: use pinv first")
    return values**exponent


def reciprocal_above(values: Tensor, cutoff: float) -> Tensor:
    """``1/v`` where ``|v|`` is above ``cutoff`` (at least 0), else 0."""
    kept = values.abs() > cutoff
    return torch.where(kept, 1 / torch.where(kept, values, torch.ones_like(values)), torch.zeros_like(values))


def _with_eigenvalues(vectors: Tensor, values: Tensor) -> Tensor:
    solution, _ = torch.linalg.solve_ex(vectors.mT, (vectors * values).mT)
    return solution.mT.real


def _one_norm(matrix: Tensor) -> Tensor:
    return matrix.abs().sum(dim=0).max()


def _undefined(exponent: float, reason: str) -> str:
    return f"power {exponent} does not exist over the reals: {reason}; use an integer power, or expm of a generator"
