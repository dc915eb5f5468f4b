"""The two ends of a lattice backbone: real numbers come in as points of the lattice, and go out as what they were."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import final

from torch import Tensor

from linearizer_core.bijections import Shape, TractableBijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import ConfigError
from linearizer_lattice.lattice import Lattice, OffGrid, straight_through


class LatticeEntry(TractableBijection, ABC):
    """What both entries share: an affine map of the data, rounded to the lattice, with the gradient of the affine map."""

    bit_exact = True
    slope: float

    def __init__(self, in_shape: Shape, lattice: Lattice, *, scale: float = 1.0, off_grid: OffGrid = "snap") -> None:
        super().__init__(in_shape)
        if math.frexp(scale)[0] != 0.5 or not lattice.step <= scale <= lattice.limit / 4:
            nearest = 2.0 ** round(math.log2(min(max(scale, lattice.step), lattice.limit / 4)))
            raise ConfigError(f"scale = {scale}: expected a power of two from {lattice.step:g} to {lattice.limit / 4:g}; give {nearest:g}")
        self.lattice = lattice
        self.scale = scale
        self.off_grid = off_grid

    @abstractmethod
    def _position(self, x: Tensor) -> Tensor:
        """Where float64 data lie, between the points."""

    @abstractmethod
    def _value(self, y: Tensor) -> Tensor:
        """The data at points of the lattice."""

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        self.lattice.require_dtype(x, "the data")
        with full_precision(x):
            # In float64 the position of float32 data is exact up to far less than a step.
            points = self.lattice.nearest(self._position(x.detach().double())).to(x.dtype)
            self.lattice.admit(x, points, what="the data", off_grid=self.off_grid == "error" and self._value(points) != x)
            return straight_through(points, self.slope * x), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        self.lattice.require_finite(z, what="the data that the inverse gives")
        with full_precision(z):
            return self._value(z), -self._logdet(z)

    def _logdet(self, x: Tensor) -> Tensor:
        return x.new_full((len(x),), self.dim * math.log(self.slope))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.lattice}, scale={self.scale}, off_grid={self.off_grid!r}"


@final
class PixelEntry(LatticeEntry):
    r""":math:`y = s\,(255\,x - 128) / 128`, rounded to the lattice: 8-bit pixels :math:`x = k / 255` become the points :math:`s\,(k - 128) / 128`.

    The inverse has the very bits of ``uint8.float() / 255``, on every device, in float32 and float64. Other reals become the nearest point; what the
    inverse makes of that is mapped to the same point again. -0.0 counts as 0.

    Arguments:
        in_shape: shape of one example.
        lattice: of a step that is at most s / 128.
        scale: s, a power of two.
        off_grid: round what lies between points, or refuse it.

    Raises:
        ConfigError: when s is not a power of two, or the step too coarse for 8 bits.
        LatticeError: in the call, for a number beyond the range, for any off the lattice with ``off_grid = "error"``, and for bfloat16 or float16 data.
            In the inverse, for numbers that are not finite.

    Example:
        >>> import torch
        >>> entry = PixelEntry((256,), Lattice(bits=14))
        >>> x = torch.arange(256, dtype=torch.uint8).float()[None] / 255
        >>> torch.equal(entry.inverse(entry(x)), x), entry(x)[0, :2].tolist()
        (True, [-1.0, -0.9921875])
    """

    def __init__(self, in_shape: Shape, lattice: Lattice, *, scale: float = 1.0, off_grid: OffGrid = "snap") -> None:
        super().__init__(in_shape, lattice, scale=scale, off_grid=off_grid)
        if lattice.step * 128 > scale:
            raise ConfigError(f"bits = {lattice.bits}, scale = {scale:g}: 8-bit pixels need a step of at most scale / 128, got {lattice.step:g}; raise bits")
        # Written as float32, the data at y are off by up to 2^-24 (s + |y|) on the lattice; that must stay below half a step for the point to be found again.
        self.lattice = lattice.within(lattice.limit - scale)
        self.slope = 255 * scale / 128

    def _position(self, x: Tensor) -> Tensor:
        return (255 * x - 128) * (self.scale / 128)

    def _value(self, y: Tensor) -> Tensor:
        # By a tensor: CUDA divides by a number through its reciprocal, which gives other bits than a division.
        return (y * (128 / self.scale) + 128) / y.new_full((), 255.0)


@final
class GridEntry(LatticeEntry):
    r""":math:`y = s\,x`, rounded to the lattice: data on a grid of step :math:`\delta / s` keep all their bits, except that -0.0 counts as 0.

    Arguments:
        in_shape: shape of one example.
        lattice: of step :math:`\delta`.
        scale: s, a power of two.
        off_grid: round what lies between points, or refuse it.

    Raises:
        ConfigError: when s is not a power of two.
        LatticeError: in the call, for a number beyond the range, for any off the lattice with ``off_grid = "error"``, and for bfloat16 or float16 data.
            In the inverse, for numbers that are not finite.

    Example:
        >>> import torch
        >>> entry = GridEntry((2,), Lattice(bits=2))
        >>> entry.inverse(entry(torch.tensor([[0.25, 0.3]])))
        tensor([[0.2500, 0.2500]])
    """

    def __init__(self, in_shape: Shape, lattice: Lattice, *, scale: float = 1.0, off_grid: OffGrid = "snap") -> None:
        super().__init__(in_shape, lattice, scale=scale, off_grid=off_grid)
        self.slope = scale

    def _position(self, x: Tensor) -> Tensor:
        return x * self.scale

    def _value(self, y: Tensor) -> Tensor:
        return y * (1 / self.scale)


@final
class LatticeExit(TractableBijection):
    """The identity on the lattice; on the way back, latents are rounded to it (with the gradient of the identity) and checked, as data are by an entry.

    Forward there is one thing to check. Sums of admitted points and clamped shifts lie on the lattice and within its limit by construction, unless a
    conditioner gave NaN.

    Arguments:
        in_shape: shape of one example.
        lattice: what latents are rounded to.
        off_grid: round what lies between points, or refuse it.

    Raises:
        LatticeError: forward, for what is not finite; in the inverse, as for data.

    Example:
        >>> import torch
        >>> LatticeExit((2,), Lattice(bits=2)).inverse(torch.tensor([[0.25, 0.3]]))
        tensor([[0.2500, 0.2500]])
    """

    bit_exact = True

    def __init__(self, in_shape: Shape, lattice: Lattice, *, off_grid: OffGrid = "snap") -> None:
        super().__init__(in_shape)
        self.lattice = lattice
        self.off_grid = off_grid

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        self.lattice.require_finite(x, what="the latent that the network gives")
        return x, x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        self.lattice.require_dtype(z, "the latent")
        with full_precision(z):
            points = self.lattice.nearest(z)
            self.lattice.admit(z, points, what="the latent", off_grid=self.off_grid == "error" and points != z)
            return straight_through(points, z), z.new_zeros(len(z))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.lattice}, off_grid={self.off_grid!r}"
