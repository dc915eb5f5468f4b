"""Equations of motion, with what is known of them in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

Field = Callable[[Tensor], Tensor]
Draw = Callable[[int, torch.Generator], Tensor]


@final
@dataclass(frozen=True)
class System:
    r""":math:`\dot x = f(x) + e\, u`.

    Arguments:
        field: f, ``(N, n)`` to ``(N, n)``, float64.
        draw: initial states ``(N, n)``.
        spectrum: the eigenvalues of a linear flow that it is conjugate to, where that is known.
        entry: e, where an input enters, ``(n, m)``.
    """

    name: str
    field: Field
    draw: Draw
    spectrum: tuple[complex, ...] = ()
    entry: Tensor | None = None


def slow_manifold(mu: float, lam: float, *, driven: bool = False) -> System:
    r""":math:`\dot x_1 = \mu x_1,\; \dot x_2 = \lambda (x_2 - x_1^2)`, from the square of side 1: linear after `slow_manifold_map`, with the rates mu, lam."""

    def field(x: Tensor) -> Tensor:
        return torch.stack([mu * x[:, 0], lam * (x[:, 1] - x[:, 0].square())], dim=1)

    entry = torch.tensor([[0.0], [1.0]], dtype=torch.float64) if driven else None
    return System("slow_manifold", field, _box((-0.5, 0.5), (-0.5, 0.5)), (mu, lam), entry)


def slow_manifold_map(x: Tensor, mu: float, lam: float) -> Tensor:
    r""":math:`g(x) = (x_1, x_2 - b x_1^2)`, :math:`b = \lambda / (\lambda - 2\mu)`: :math:`\dot z_2 = \lambda (x_2 - x_1^2) - 2 b \mu x_1^2 = \lambda z_2`."""
    return torch.stack([x[..., 0], x[..., 1] - lam / (lam - 2 * mu) * x[..., 0].square()], dim=-1)


def pendulum() -> System:
    r""":math:`\dot x_1 = x_2,\; \dot x_2 = -\sin x_1`, from states that swing: energies :math:`x_2^2/2 - \cos x_1` up to 0.99, below the separatrix at 1."""
    box = _box((-3.1, 3.1), (-2.0, 2.0))

    def draw(count: int, generator: torch.Generator) -> Tensor:
        found = torch.empty(0, 2, dtype=torch.float64)
        while len(found) < count:
            x = box(2 * count, generator)
            found = torch.cat([found, x[x[:, 1].square() / 2 - x[:, 0].cos() <= 0.99]])
        return found[:count]

    return System("pendulum", lambda x: torch.stack([x[:, 1], -x[:, 0].sin()], dim=1), draw)


def swing_of_a_metre() -> System:
    r"""A pendulum of 1 m under 9.81 m/s^2, :math:`\dot x_1 = x_2,\; \dot x_2 = -9.81 \sin x_1`, of which `Swing` is one orbit."""
    return System("koopmanae_pendulum", lambda x: torch.stack([x[:, 1], -9.81 * x[:, 0].sin()], dim=1), _box((-2.4, 2.4), (-1.0, 1.0)))


def fluid(name: str, draw: Draw) -> System:
    r"""The mean-field model of a wake (Noack et al., doi 10.1017/S0022112003006694), :math:`\mu = 0.1, \omega = 1, A = -0.1, \lambda = 10`:

    .. math::
        \dot x_1 = \mu x_1 - \omega x_2 + A x_1 x_3,\quad \dot x_2 = \omega x_1 + \mu x_2 + A x_2 x_3,\quad \dot x_3 = -\lambda (x_3 - x_1^2 - x_2^2)
    """
    mu, omega, a, lam = 0.1, 1.0, -0.1, 10.0

    def field(x: Tensor) -> Tensor:
        first, second, third = x.unbind(1)
        growth = mu + a * third
        return torch.stack([growth * first - omega * second, omega * first + growth * second, -lam * (third - first.square() - second.square())], dim=1)

    return System(name, field, draw)


def on_the_bowl(inner: float, outer: float) -> Draw:
    """States with :math:`x_3 = x_1^2 + x_2^2`, uniform in angle and in radius."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        radius, angle = torch.rand(2, count, generator=generator, dtype=torch.float64)
        radius, angle = inner + (outer - inner) * radius, 2 * math.pi * angle
        return torch.stack([radius * angle.cos(), radius * angle.sin(), radius.square()], dim=1)

    return draw


def fluid_on_attractor(inner_radius: float) -> System:
    """From radii up to 1.1 on the bowl; the limit cycle has radius 1."""
    return fluid("fluid_on_attractor", on_the_bowl(inner_radius, 1.1))


def fluid_off_attractor() -> System:
    """From anywhere in a box that holds the limit cycle."""
    return fluid("fluid_off_attractor", _box((-1.1, 1.1), (-1.1, 1.1), (0.0, 2.42)))


def double_well() -> System:
    r"""A ball in a valley with two hollows, :math:`\ddot q = q - q^3 - \dot q / 2`: stable equilibria at q = -1 and 1, an unstable one between them."""

    def field(x: Tensor) -> Tensor:
        return torch.stack([x[:, 1], x[:, 0] - x[:, 0] ** 3 - 0.5 * x[:, 1]], dim=1)

    return System("double_well", field, _box((-1.5, 1.5), (-1.0, 1.0)))


def _box(*bounds: tuple[float, float]) -> Draw:
    low, high = torch.tensor(bounds, dtype=torch.float64).T

    def draw(count: int, generator: torch.Generator) -> Tensor:
        drawn: Tensor = low + (high - low) * torch.rand(count, len(bounds), generator=generator, dtype=torch.float64)
        return drawn

    return draw
