"""Eigenvalues of generators, computed and written."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from linearizer_core.operators import DecayRotation, LinearOperator


def eigenvalues(generator: LinearOperator) -> list[complex]:
    """All eigenvalues, those with the largest real part first, in float64.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> eigenvalues(Diagonal(torch.tensor([-2.0, -0.5])))
        [(-0.5+0j), (-2+0j)]
    """
    return sorted((complex(value) for value in _found(generator).tolist()), key=lambda value: (-round(value.real, 9), abs(value.imag), -value.imag))


def _found(generator: LinearOperator) -> Tensor:
    """All eigenvalues, complex128 on the CPU: from the structure of the operator where it tells."""
    if isinstance(generator, DecayRotation):
        pairs = torch.complex(generator.rates.detach().double(), generator.frequencies.detach().double())
        return torch.cat([pairs, pairs.conj(), generator.rest.detach().to(pairs.dtype)]).cpu()
    found: Tensor = torch.linalg.eigvals(generator.to_dense().detach().double())
    return found.cpu()


def written(values: Sequence[complex], largest: int = 8) -> str:
    """Eigenvalues as text, conjugate pairs together: the first ``largest`` of them, and how many are left.

    Example:
        >>> written([complex(-0.1, 2), complex(-0.1, -2), complex(-1)])
        '-0.1 +- 2i, -1'
    """
    texts = [_text(value) for value in values if value.imag >= 0]
    more = len(texts) - largest
    return ", ".join(texts[:largest]) + (f" and {more} more" if more > 0 else "")


def _text(value: complex) -> str:
    real = f"{value.real:.4g}" if abs(value.real) > 1e-9 else "0"
    return real if value.imag == 0 else f"{real} +- {value.imag:.4g}i"
