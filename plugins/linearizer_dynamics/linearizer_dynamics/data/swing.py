"""The swing of a pendulum in closed form."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor


@final
class Swing:
    r"""A pendulum of 1 m under 9.81 m/s^2 that is let go at rest at the angle :math:`\theta_0`.

    With :math:`k = \sin(\theta_0/2)` and :math:`\omega_0 = \sqrt{9.81}`: :math:`\sin(\theta/2) = k\, \mathrm{sn}(K - \omega_0 t)`. Jacobi's functions come
    from the arithmetic-geometric mean (Abramowitz and Stegun, 16.4), to the precision of float64.

    Example:
        >>> Swing(0.001).frequency / 9.81**0.5
        0.99999993...
    """

    def __init__(self, angle: float) -> None:
        self.modulus = math.sin(angle / 2)
        self._means, self._gaps = [1.0], [self.modulus]
        partner = math.sqrt(1 - self.modulus**2)
        while abs(self._gaps[-1]) > 1e-16:
            mean = self._means[-1]
            self._means.append((mean + partner) / 2)
            self._gaps.append((mean - partner) / 2)
            partner = math.sqrt(mean * partner)

    @property
    def frequency(self) -> float:
        r"""The angular frequency, :math:`\pi \omega_0 / (2 K)`."""
        return math.sqrt(9.81) * self._means[-1]

    def at(self, t: Tensor) -> Tensor:
        """Angle and angular velocity at times ``t`` ``(N,)``, float64: ``(N, 2)``."""
        quarter, speed = math.pi / (2 * self._means[-1]), math.sqrt(9.81)
        argument = quarter - speed * t.double()
        angle = 2.0 ** (len(self._means) - 1) * self._means[-1] * argument
        for mean, gap in zip(self._means[:0:-1], self._gaps[:0:-1], strict=True):
            angle = (angle + torch.asin(gap / mean * angle.sin())) / 2
        sine, cosine = angle.sin(), angle.cos()
        # The derivative of the angle 2 asin(k sn) is 2 k cn, since its other factor, dn, cancels.
        return torch.stack([2 * torch.asin(self.modulus * sine), -2 * speed * self.modulus * cosine], dim=1)
