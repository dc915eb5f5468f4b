"""Layers whose sums are not rounded, so that the order of summation, and with it batch, threads and device, cannot matter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections import remembered
from linearizer_core.errors import ConfigError
from linearizer_lattice.lattice import straight_through

_MANTISSA = {torch.float32: 24, torch.float64: 53}
_MOST_BITS_FLOAT32 = 8


@final
@dataclass(frozen=True)
class ExactArithmetic:
    r"""Grids of weights and activations, small enough that every sum of products fits the mantissa.

    A weight is :math:`w = k\,\delta_w`, an activation :math:`a = j\,\delta_a`; the steps are powers of two, :math:`|k| < 2^{b_w}` and :math:`|j| < 2^{b_a}`.
    A sum of n products is a multiple of :math:`\delta_w \delta_a`; while :math:`n\,(2^{b_w} - 1)(2^{b_a} - 1) \le 2^m` it is exact, and so is
    every partial sum, in any order. In float64, m = 53. In float32, m = 24, and weights and activations have at most 8 bits: then they are exact in
    TensorFloat32 and bfloat16 too, to which some backends may lower the factors of a float32 product.

    Arguments:
        weight_bits: b_w.
        activation_bits: b_a.
        activation_bound: :math:`2^{b_a} \delta_a`, a power of two.
        dtype: what sums are kept in, float64 or float32.

    Raises:
        ConfigError: for more than 8 bits with float32, or a bound that is not a power of two.

    Example:
        >>> arithmetic = ExactArithmetic(weight_bits=8, activation_bits=8, activation_bound=4.0, dtype=torch.float32)
        >>> arithmetic.largest_fan_in
        258
    """

    weight_bits: int
    activation_bits: int
    activation_bound: float
    dtype: torch.dtype

    def __post_init__(self) -> None:
        if math.frexp(self.activation_bound)[0] != 0.5:
            nearest = 2.0 ** round(math.log2(self.activation_bound))
            raise ConfigError(f"exact.activation_bound = {self.activation_bound}: expected a power of two; give {nearest:g}")
        for name in ("weight_bits", "activation_bits"):
            bits = getattr(self, name)
            if self.dtype == torch.float32 and bits > _MOST_BITS_FLOAT32:
                raise ConfigError(
                    f"exact.{name} = {bits} with exact.accumulation = 'float32': expected at most {_MOST_BITS_FLOAT32}, or reduced-precision products "
                    f"could round it; lower exact.{name}, or set exact.accumulation = 'float64'"
                )

    @property
    def largest_fan_in(self) -> int:
        """n, the largest number of products whose sum is exact."""
        return int(2 ** _MANTISSA[self.dtype] // ((2**self.weight_bits - 1) * (2**self.activation_bits - 1)))

    def require_fit(self, fan_in: int, extra: int, what: str) -> None:
        """Raise unless ``fan_in`` products and ``extra`` terms of the same size can be summed exactly.

        Raises:
            ConfigError: says which number to lower.
        """
        if fan_in + extra > self.largest_fan_in:
            mantissa = _MANTISSA[self.dtype]
            needed = self.weight_bits + self.activation_bits + math.log2(fan_in + extra)
            raise ConfigError(
                f"{what}: weight_bits {self.weight_bits} + activation_bits {self.activation_bits} + log2 of {fan_in} inputs and {extra} biases = {needed:.2f}, "
                f"expected at most about {mantissa} ({self.largest_fan_in} terms); lower exact.weight_bits, exact.activation_bits or the width to "
                f"{max(self.largest_fan_in - extra, 0)} inputs" + ("" if mantissa == 53 else ", or set exact.accumulation = 'float64'")
            )

    def activation(self, values: Tensor, *, low: float = 0.0) -> Tensor:
        """ReLU (or, with a negative ``low``, a clamp at both ends), rounded to the grid of activations."""
        step = self.activation_bound * 2.0**-self.activation_bits
        return quantize(values, step, max(low, step - self.activation_bound), self.activation_bound - step)

    def weight(self, weight: Tensor, fan_in: int) -> Tensor:
        """Weights on their grid, of size below the least power of two from :math:`3 / \\sqrt{n}` on: thrice what initialisation gives."""
        bound, step = self._weight_bound(fan_in)
        return quantize(weight.to(self.dtype), step, step - bound, bound - step)

    def bias(self, bias: Tensor, fan_in: int) -> Tensor:
        """A bias on the grid of the products, no larger than the largest product."""
        unit = self._weight_bound(fan_in)[1] * self.activation_bound * 2.0**-self.activation_bits
        largest = unit * (2**self.weight_bits - 1) * (2**self.activation_bits - 1)
        return quantize(bias.to(self.dtype), unit, -largest, largest)

    def _weight_bound(self, fan_in: int) -> tuple[float, float]:
        bound = 2.0 ** math.ceil(math.log2(3 / math.sqrt(fan_in)))
        return bound, bound * 2.0**-self.weight_bits


def quantize(values: Tensor, step: float, low: float, high: float) -> Tensor:
    """Clamp to [low, high], which lie on the grid, and round to multiples of ``step``, a power of two; the gradient is that of the clamp."""
    clamped = values.clamp(low, high)
    return straight_through((clamped / step).round() * step, clamped)


class ExactLayer(nn.Module):
    """What both layers share: real parameters, seen through their grids, and per-example biases."""

    def __init__(self, weight_shape: tuple[int, int], arithmetic: ExactArithmetic, *, extra: int, what: str) -> None:
        super().__init__()
        arithmetic.require_fit(weight_shape[1], 1 + extra, what)
        self.arithmetic = arithmetic
        self.fan_in = weight_shape[1]
        bound = self.fan_in**-0.5
        self.weight = nn.Parameter(torch.empty(weight_shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(weight_shape[0]).uniform_(-bound, bound))

    @remembered
    def terms(self) -> tuple[Tensor, Tensor]:
        """Weight and bias on their grids."""
        return self.arithmetic.weight(self.weight, self.fan_in), self.arithmetic.bias(self.bias, self.fan_in)

    def on_grid(self, rows: Tensor) -> Tensor:
        """Further biases, such as embedded labels, on the grid of the products; the layer is constructed with their number as ``extra``."""
        return self.arithmetic.bias(rows, self.fan_in)

    def extra_repr(self) -> str:
        return f"{self.fan_in} -> {len(self.weight)}, {self.arithmetic}"


@final
class ExactLinear(ExactLayer):
    r""":math:`W a + b` with weights, biases and activations on grids: the exact result, by any order of summation.

    Arguments:
        in_features: size of the last dimension of the input, whose values must be activations on their grid.
        out_features: size of the last dimension of the output.
        arithmetic: the grids.
        extra: number of further biases that are added to the output.

    Raises:
        ConfigError: when the sums do not fit.

    Example:
        >>> arithmetic = ExactArithmetic(weight_bits=8, activation_bits=8, activation_bound=4.0, dtype=torch.float32)
        >>> layer = ExactLinear(100, 3, arithmetic)
        >>> a = arithmetic.activation(torch.randn(2, 100))
        >>> torch.equal(layer(a), layer(a[:, torch.arange(100)]))
        True
    """

    def __init__(self, in_features: int, out_features: int, arithmetic: ExactArithmetic, *, extra: int = 0) -> None:
        super().__init__((out_features, in_features), arithmetic, extra=extra, what=f"exact layer of {in_features} features")

    def forward(self, a: Tensor) -> Tensor:
        return functional.linear(a, *self.terms())


@final
class ExactConv(ExactLayer):
    r"""A 3x3 convolution with padding, as patches times a matrix: :math:`W * a + b` without rounding.

    Fast convolution kernels (Winograd, FFT) compute with other numbers than the products, and round even where the result would be exact.

    Arguments:
        in_channels: channels of the input, whose values must be activations on their grid.
        out_channels: channels of the output.
        arithmetic: the grids.
        extra: number of further biases that are added to the output.

    Raises:
        ConfigError: when the sums do not fit.

    Example:
        >>> arithmetic = ExactArithmetic(weight_bits=12, activation_bits=12, activation_bound=4.0, dtype=torch.float64)
        >>> ExactConv(2, 5, arithmetic)(torch.ones(1, 2, 4, 6, dtype=torch.float64)).shape
        torch.Size([1, 5, 4, 6])
    """

    def __init__(self, in_channels: int, out_channels: int, arithmetic: ExactArithmetic, *, extra: int = 0) -> None:
        super().__init__((out_channels, 9 * in_channels), arithmetic, extra=extra, what=f"exact 3x3 convolution of {in_channels} channels")

    def forward(self, a: Tensor) -> Tensor:
        weight, bias = self.terms()
        products = weight @ functional.unfold(a, 3, padding=1)  # (B, out, H W)
        return (products + bias[:, None]).reshape(len(a), -1, *a.shape[2:])
