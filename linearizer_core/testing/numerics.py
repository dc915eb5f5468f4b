"""Errors, tolerances and derivatives, as all checks measure them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from linearizer_core.errors import CheckFailure

RELATIVE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Tolerance of what is exact but for rounding, relative to the size of the numbers."""

ITERATIVE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Tolerance where an inverse iterates until it is close enough."""

LOOSEST = 1e-2
"""No gain, however large, makes a larger error acceptable."""

_ROUNDINGS = 50
_STEP = 1e-6
_GRADIENT = 1e-5


def largest_error(found: Tensor, expected: Tensor) -> float:
    """The largest absolute difference, in float64; infinite where something is not a number.

    Raises:
        CheckFailure: when the shapes differ.
    """
    if found.shape != expected.shape:
        raise CheckFailure(f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    difference = (found.detach().double() - expected.detach().double()).abs()
    return float(difference.nan_to_num(nan=float("inf")).max()) if difference.numel() else 0.0


def require_close(found: Tensor, expected: Tensor, tolerance: float, claim: str, cause: str) -> float:
    """The largest error of ``found``, relative to the largest entry of ``expected`` where that is above 1.

    Raises:
        CheckFailure: when it exceeds ``tolerance``; the message holds ``claim``, the numbers and the likely ``cause``.
    """
    error = largest_error(found, expected) / max(1.0, _size(expected))
    if not error <= tolerance:
        raise CheckFailure(f"{claim}: largest error {error:.1e}, tolerance {tolerance:.1e}; {cause}")
    return error


def require_same_bits(found: Tensor, expected: Tensor, claim: str, cause: str) -> None:
    """Raise `CheckFailure` unless two tensors are equal bit for bit."""
    if not torch.equal(found, expected):
        raise CheckFailure(f"{claim}: the bits differ, by up to {largest_error(found, expected):.1e}; {cause}")


def conditioning(matrix: Tensor) -> tuple[float, float]:
    """The largest singular value of a Jacobian, and one over the smallest: the gain of a map and of its inverse."""
    values = torch.linalg.svdvals(matrix.double())
    return float(values[0]), float(1 / values[-1].clamp(min=1e-300))


def rounding_tolerance(dtype: torch.dtype, gains: tuple[float, float], *, iterative: bool) -> float:
    """What a round trip may lose: the stated tolerance, or more where the gains of both directions amplify the rounding."""
    amplified = _ROUNDINGS * torch.finfo(dtype).eps * gains[0] * gains[1]
    return max((ITERATIVE if iterative else RELATIVE)[dtype], min(amplified, LOOSEST))


def compare_gradients(function: Callable[[Tensor], Tensor], x: Tensor, module: nn.Module, cause: str) -> float:
    """Compare autograd with central finite differences, in the input and in all parameters at once, along one random direction.

    Returns:
        The error, relative to the typical size of the derivative.

    Raises:
        CheckFailure: naming the tensor whose derivative is wrong.
    """
    x = x.detach().clone().requires_grad_()
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    tensors = [x, *(parameter for _, parameter in named)]
    weights = torch.randn_like(function(x).detach())
    gradients = torch.autograd.grad((weights * function(x)).sum(), tensors, allow_unused=True)
    directions = [torch.randn_like(tensor) * max(_rms(tensor), 0.1) for tensor in tensors]
    found = [0.0 if gradient is None else float((gradient * each).sum()) for gradient, each in zip(gradients, directions, strict=True)]
    scale = math.sqrt(sum(float(g.norm() * _rms(each)) ** 2 for g, each in zip(gradients, directions, strict=True) if g is not None))

    def difference(moved: Sequence[int]) -> float:
        return _central_difference(lambda: float((weights * function(x)).sum()), [tensors[i] for i in moved], [directions[i] for i in moved])

    everything = range(len(tensors))
    error = abs(difference(everything) - sum(found)) / max(scale, 1e-6)
    if not error <= _GRADIENT:
        errors = [abs(difference([i]) - found[i]) for i in everything]
        worst = max(everything, key=lambda i: errors[i])
        where = "the input" if worst == 0 else f"parameter {named[worst - 1][0]!r}"
        raise CheckFailure(f"the derivative in {where} is wrong: relative error {error:.1e}, tolerance {_GRADIENT:.1e}; {cause}")
    return error


@torch.no_grad()
def _central_difference(value: Callable[[], float], tensors: Sequence[Tensor], directions: Sequence[Tensor]) -> float:
    before = [tensor.clone() for tensor in tensors]
    values = []
    try:
        for sign in (1, -1):
            for tensor, origin, direction in zip(tensors, before, directions, strict=True):
                tensor.copy_(origin + sign * _STEP * direction)
            values.append(value())
    finally:
        for tensor, origin in zip(tensors, before, strict=True):
            tensor.copy_(origin)
    return (values[0] - values[1]) / (2 * _STEP)


def _rms(tensor: Tensor) -> float:
    return float(tensor.detach().square().mean().sqrt()) if tensor.numel() else 0.0


def _size(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0
