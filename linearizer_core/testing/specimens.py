"""The bijections that the checks of a backbone look at: one for each shape, and conditional ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Shape
from linearizer_core.condition import Condition
from linearizer_core.errors import LinearizerError
from linearizer_core.invertibility.derivatives import jacobian
from linearizer_core.testing.check import SkipCheck
from linearizer_core.testing.numerics import conditioning, rounding_tolerance
from linearizer_core.testing.perturb import fresh, moved
from linearizer_core.testing.subjects import BackboneSubject

LARGEST_JACOBIAN = 128
"""Largest dimension in which Jacobians are formed."""

_INITIAL_BATCH = 16


class Way(NamedTuple):
    """One direction of a bijection, with something to call it on."""

    direction: str
    function: Callable[..., Tensor]
    tensor: Tensor
    condition: Condition | None

    def __call__(self) -> Tensor:
        return self.function(self.tensor, self.condition)


@final
@dataclass(frozen=True)
class Specimen:
    """A bijection that has seen data and whose weights have moved, in evaluation mode."""

    subject: BackboneSubject
    shape: Shape
    conditional: bool
    dtype: torch.dtype
    bijection: Bijection

    def __str__(self) -> str:
        conditions = f" given {', '.join(self.bijection.conditions)}" if self.bijection.conditions else ""
        return f"{self.shape}{conditions}, {self.precision}"

    @property
    def precision(self) -> str:
        """The dtype in words."""
        return str(self.dtype).removeprefix("torch.")

    def fresh(self) -> Bijection:
        """Another bijection of the same kind, in its initial state, drawn from another seed."""
        return fresh(lambda: self.subject.make(self.shape, conditional=self.conditional), seed=99).to(self.dtype)

    def points(self, batch: int = 3) -> tuple[Tensor, Condition | None]:
        """Examples ``(batch, *in_shape)`` from a standard Gaussian, and random conditions."""
        return self._draw(self.bijection.in_shape, batch)

    def latents(self, batch: int = 3) -> tuple[Tensor, Condition | None]:
        """Latents ``(batch, *out_shape)`` from a standard Gaussian, and random conditions. Of a map that is not surjective, images of examples."""
        if self.bijection.surjective:
            return self._draw(self.bijection.out_shape, batch)
        x, condition = self.points(batch)
        with torch.no_grad():
            return self.bijection(x, condition), condition

    def representable(self, batch: int = 3) -> tuple[Tensor, Condition | None]:
        """`points`, rounded to the grid of a bijection that is exact on a grid."""
        x, condition = self.points(batch)
        if self.bijection.bit_exact:
            with torch.no_grad():
                x = self.bijection.inverse(self.bijection(x, condition), condition)
        return x, condition

    def both_ways(self, batch: int = 3) -> tuple[Way, Way]:
        """Forward on `points` and inverse on `latents`."""
        bijection = self.bijection
        return Way("forward", bijection.forward, *self.points(batch)), Way("inverse", bijection.inverse, *self.latents(batch))

    def gains(self) -> tuple[float, float]:
        """The largest factors by which the bijection and its inverse stretch a small difference at one point; 1 where that takes too long to measure."""
        return conditioning(self.jacobian(*self.representable(1))) if self.bijection.dim <= LARGEST_JACOBIAN else (1.0, 1.0)

    def tolerance(self, gains: tuple[float, float] | None = None) -> float:
        """What a round trip may lose here; ``gains`` where they are known already."""
        return rounding_tolerance(self.dtype, gains or self.gains(), iterative=self.bijection.inverse_kind == "iterative")

    def jacobian(self, x: Tensor, condition: Condition | None) -> Tensor:
        """The Jacobian of the first example, ``(out, in)``, both flattened."""
        one = condition.rows(torch.tensor([0])) if condition else None
        return jacobian(self.bijection, x[:1], one)[0]

    def _draw(self, shape: Shape, batch: int) -> tuple[Tensor, Condition | None]:
        generator = torch.Generator().manual_seed(batch)
        x = torch.randn(batch, *shape, dtype=torch.float64, generator=generator).to(self.dtype)
        labels = {name: torch.randint(0, count, (batch,), generator=generator) for name, count in self.bijection.conditions.items()}
        return x, Condition(**labels) if labels else None


def refusals(subject: BackboneSubject) -> dict[Shape, str]:
    """The shapes that the backbone refuses, and what it says."""
    found = {}
    for shape in subject.shapes:
        try:
            subject.make(shape)
        except LinearizerError as error:
            found[tuple(shape)] = str(error)
    return found


def specimens(subject: BackboneSubject, dtype: torch.dtype = torch.float64, *, all_shapes: bool = False) -> Iterator[Specimen]:
    """The first vector and the first image that work, each without and with conditions; with ``all_shapes`` all others too, without conditions.

    Raises:
        SkipCheck: when no shape works.
    """
    seen: set[int] = set()
    for shape in map(tuple, subject.shapes):
        is_first = len(shape) not in seen
        if (is_first or all_shapes) and (specimen := _specimen(subject, shape, dtype, conditional=False)):
            yield specimen
            seen.add(len(shape))
            if is_first and (conditional := _specimen(subject, shape, dtype, conditional=True)):
                yield conditional
    if not seen:
        raise SkipCheck("no shape can be made; see the check construction")


def _specimen(subject: BackboneSubject, shape: Shape, dtype: torch.dtype, *, conditional: bool) -> Specimen | None:
    try:
        made = subject.make(shape, conditional=conditional)
    except LinearizerError:
        return None
    if conditional and not made.conditions:
        return None

    def see_data(bijection: Bijection) -> None:
        bijection(*Specimen(subject, shape, conditional, torch.float64, bijection).points(_INITIAL_BATCH))

    bijection = moved(lambda: subject.make(shape, conditional=conditional), see_data)
    return Specimen(subject, shape, conditional, dtype, bijection.to(dtype))
