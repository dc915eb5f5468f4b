"""The numbers of the lattice: multiples of a power of two, few enough that sums of them are not rounded."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from linearizer_core.errors import LatticeError

OffGrid = Literal["snap", "error"]

# One bit less than float32 has, and three less than float64: pixels k / 255 are rounded where they are written as floats, and must be found again.
_BITS = {torch.float32: 23, torch.float64: 50}


@final
@dataclass(frozen=True)
class Lattice:
    r"""The points :math:`k\,\delta` with :math:`\delta = 2^{-\mathrm{bits}}` and :math:`|k| \le 2^{23}` (:math:`2^{50}` in float64).

    Sums and differences of two such points are exact in floating point, so that adding a point and taking it away again changes no bit.

    Arguments:
        bits: minus the exponent of the step.
        dtype: the least precise dtype that must hold the lattice, float32 or float64.
        bound: largest size of a number that may enter, where that is less than `limit`.

    Example:
        >>> lattice = Lattice(bits=2)
        >>> lattice.snap(torch.tensor([0.3, -0.1, 7.0]))
        tensor([0.2500, 0.0000, 7.0000])
    """

    bits: int
    dtype: torch.dtype = torch.float32
    bound: float = math.inf

    @property
    def step(self) -> float:
        """The distance of neighbours."""
        return float(2.0**-self.bits)

    @property
    def limit(self) -> float:
        """The largest number whose sums are sure to be exact."""
        return float(2.0 ** (_BITS[self.dtype] - self.bits))

    def within(self, bound: float) -> Lattice:
        """The same points; a number may enter up to ``bound`` where it could be larger so far."""
        return replace(self, bound=min(self.bound, bound))

    def nearest(self, values: Tensor) -> Tensor:
        """The nearest points of the lattice, halves to even, without gradient."""
        return (values.detach() * 2.0**self.bits).round() * self.step

    def snap(self, values: Tensor) -> Tensor:
        """The nearest points of the lattice, with the gradient of the identity (straight-through, arXiv 1308.3432)."""
        return straight_through(self.nearest(values), values)

    def admit(self, given: Tensor, points: Tensor, *, what: str, off_grid: bool | Tensor) -> None:
        """Raise unless all ``points``, to which ``given`` was rounded, may enter. One look at the values; a compiled graph does not look.

        Arguments:
            given: what the caller handed over.
            points: where it lies on the lattice.
            what: its name in messages.
            off_grid: True where ``given`` lies between points and must not; False where that is allowed.

        Raises:
            LatticeError: names the first value that is out of range or off the lattice, its index, what is allowed, and the fix.
        """
        if torch.compiler.is_compiling():
            return
        bound = min(self.bound, self.limit)
        refused = ~(points.abs() <= bound) | off_grid
        if not bool(refused.any()):
            return
        index = tuple(refused.nonzero()[0].tolist())
        found = f"{int(refused.sum())} of {refused.numel()} values of {what} are not on the lattice; the first is {given[index].item()!r} at {list(index)}"
        if not bool(points[index].abs() <= bound):
            raise LatticeError(
                f"{found}, at lattice point {points[index].item():g} beyond the range of {bound:g}; "
                "look for infinities, scale the data, or lower bits (one bit less doubles the range)"
            )
        raise LatticeError(f"{found}, between points of step {self.step:g}; round it to the grid of the data, or set off_grid = 'snap'")

    def require_finite(self, points: Tensor, *, what: str) -> None:
        """Raise unless all ``points``, which a network made of admitted ones, are finite. One look at the values; a compiled graph does not look.

        Raises:
            LatticeError: says how many are not, what the likely cause is, and how to find it.
        """
        if torch.compiler.is_compiling() or bool(points.isfinite().all()):
            return
        raise LatticeError(
            f"{int((~points.isfinite()).sum())} of {points.numel()} values of {what} are not finite, expected points of the lattice; couplings keep finite "
            "numbers in range, so a conditioner gave NaN, most likely since training diverged: look for parameters that are not finite, go back to an "
            "earlier checkpoint, and lower the learning rate or clip gradients"
        )

    def require_dtype(self, values: Tensor, what: str) -> None:
        """Raise unless ``values`` are of a dtype that holds the lattice.

        Raises:
            LatticeError: for bfloat16, float16 and whatever else is not float32 or float64; for float32 too, where the lattice needs float64.
        """
        allowed = (torch.float32, torch.float64) if self.dtype == torch.float32 else (torch.float64,)
        if values.dtype not in allowed:
            names = " or ".join(map(str, allowed))
            fix = (
                "set precision = 'float32' with fewer bits"
                if values.dtype == torch.float32
                else "autocast and arithmetic = 'bfloat16' lower the conditioners alone"
            )
            raise LatticeError(f"{what} is {values.dtype}, which does not hold a lattice of step {self.step:g}; give {names} ({fix})")


def straight_through(value: Tensor, smooth: Tensor) -> Tensor:
    """The bits of ``value``, the gradient of ``smooth``, which must be finite. -0.0 becomes 0.0: the sign of zero would not survive the sums to come."""
    return value.detach() + (smooth - smooth.detach())
