"""What is known of an orbit in the latent space: when it comes back, and how far it can be followed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from linearizer_core.cores import GeneratorCore
from linearizer_dynamics.spectrum import eigenvalues

_PER_TURN = 48
TURNS = 16
"""Turns of an orbit, at its mean frequency, within which it may come back."""
_AWAY, _BACK = 0.5, 0.25
_TURNS_SHOWN = 3
_LARGEST_GROWTH = 50.0


@torch.no_grad()
def returns_after(core: GeneratorCore, z: Tensor) -> float | None:
    """The first time at which the orbit of one latent ``z`` ``(D,)`` comes back to it; None where it does not.

    An orbit is back at a minimum of the distance to its start that is small beside the largest distance before.

    Example:
        >>> from linearizer_core import create_core
        >>> core = create_core("generator", (2, 2), frequency=6.283185, spectrum="conservative")
        >>> round(returns_after(core, torch.tensor([1.0, 0.0])), 3)
        1.0
    """
    generator, start = core.generator_at(z).to(torch.float64), z.double()
    speed = float(generator(start).norm())
    if speed <= torch.finfo(torch.float32).eps * float(start.norm()):
        return None
    length = 2 * math.pi * float(start.norm()) / speed / _PER_TURN
    step, state, squares = generator.expm(length), start, []
    for _ in range(_PER_TURN * TURNS):
        state = step(state)
        squares.append(float((state - start).square().sum()))
    largest = 0.0
    for number in range(1, len(squares) - 1):
        before, here, after = squares[number - 1 : number + 2]
        largest = max(largest, before)
        if before >= here <= after and largest > (_AWAY * float(start.norm())) ** 2 and here < _BACK**2 * largest:
            return length * (number + 1 + (before - after) / (2 * (before - 2 * here + after)))
    return None


@torch.no_grad()
def bounds(core: GeneratorCore, z: Tensor) -> tuple[float, float]:
    """How far back and forth the orbit of a latent ``z`` ``(D,)`` is followed: a few turns, as long as nothing grows beyond a factor of 50 on the way.

    Rounded to two digits.
    """
    spectrum = eigenvalues(core.generator_at(z))
    turn = returns_after(core, z) or 2 * math.pi / max(1e-6, (sum(abs(value) ** 2 for value in spectrum) / len(spectrum)) ** 0.5)
    rates = [value.real for value in spectrum]
    decay, growth = max(1e-9, -min(rates)), max(1e-9, max(rates))
    far = math.log(_LARGEST_GROWTH)
    return _rounded(min(_TURNS_SHOWN * turn, far / decay)), _rounded(min(_TURNS_SHOWN * turn, far / growth))


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")
