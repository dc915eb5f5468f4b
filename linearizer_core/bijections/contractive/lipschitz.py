"""Linear layers whose operator norm is bounded, whatever training does to their weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from linearizer_core.bijections.base import full_precision
from linearizer_core.bijections.remembered import remembered
from linearizer_core.bijections.tf32 import without_tf32
from linearizer_core.errors import BijectionError, InputShapeError

SILU_LIPSCHITZ = 1.09984
"""The largest slope of SiLU, rounded up."""

_STEPS = 100
_STEPS_BETWEEN_CHECKS = 10
_MARGIN = 1.01
_SEED = 0

Map = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class _LeadingPair:
    """The leading singular pair of one weight, and what tells other weights from it, however they were written: another product with a generic vector."""

    left: Tensor
    right: Tensor
    probe: Tensor
    product: Tensor

    def belongs_to(self, weight: Tensor) -> bool:
        rows = _rows(weight)
        return (rows.dtype, rows.device) == (self.probe.dtype, self.probe.device) and torch.equal(rows @ self.probe, self.product)


@final
class OperatorNorm(nn.Module):
    r""":math:`\sigma(W) = \max_{|v| = 1} |W v|` of a linear map, as a function of its weight alone, differentiable.

    The singular pair u, v is that of Rayleigh and Ritz on the vectors of a power iteration (the Lanczos method) from a fixed random one, iterated until
    :math:`|W^T u - \sigma v|` is small, at most 100 times. So it does not depend on earlier calls, on the mode or on the batch, as a running power iteration
    does. It is computed anew when the weight has changed, and remembered until then. A change is seen by the product of W with a fixed vector in every call, so
    that writes through ``.data`` count too; on a GPU each call waits for that. The gradient is that of :math:`u^T W v` with u and v held fixed.

    It is an estimate from below: within 1% even where the spectrum decays slowly, and mostly much closer. A direction that is orthogonal to the starting
    vector and to all its images would go unseen. The norm of a weight that is not finite is NaN. ``torch.compile`` breaks its graph here.

    Arguments:
        shape: shape of one vector that the map takes.
        apply_map: ``(weight, vector) -> W vector``.
        apply_transpose: ``(weight, image) -> W^T image``.

    Example:
        >>> import torch
        >>> norm = OperatorNorm((2,), lambda weight, v: weight @ v, lambda weight, u: weight.T @ u)
        >>> round(norm(torch.tensor([[3.0, 0.0], [0.0, 4.0]])).item(), 4)
        4.0
    """

    def __init__(self, shape: tuple[int, ...], apply_map: Map, apply_transpose: Map) -> None:
        super().__init__()
        self.apply_map = apply_map
        self.apply_transpose = apply_transpose
        self.register_buffer("start", torch.randn(shape, generator=torch.Generator().manual_seed(_SEED)), persistent=False)
        self._found: _LeadingPair | None = None

    def forward(self, weight: Tensor) -> Tensor:
        with full_precision(weight), without_tf32(weight):
            left, right = self._remembered(weight)
            norm: Tensor = (left * self.apply_map(weight.to(right.dtype), right)).sum()
            return norm

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _remembered(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        if self._found is not None and self._found.belongs_to(weight):
            return self._found.left, self._found.right
        # Tensors made in inference mode could not be used in a later training step.
        with torch.inference_mode(False):
            left, right = self._leading(weight)
            rows = _rows(weight)
            probe = torch.arange(rows.shape[-1], dtype=rows.dtype, device=rows.device).cos()
            self._found = None if _is_transformed(left) else _LeadingPair(left, right, probe, rows @ probe)
        return left, right

    @torch.no_grad()
    def _leading(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        weight = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
        weight = weight / weight.abs().max().clamp_min(torch.finfo(weight.dtype).tiny)  # its fourth powers occur, and must not overflow
        start = self.get_buffer("start").to(weight.dtype)
        start = start / start.norm()
        rounding, tolerance = 1e3 * torch.finfo(weight.dtype).eps, torch.finfo(weight.dtype).eps ** 0.5
        basis: list[Tensor] = []
        images: list[Tensor] = []
        vector = start.flatten()
        while True:
            basis.append(vector)
            images.append(self.apply_map(weight, vector.reshape(start.shape)))
            last = len(basis) == min(_STEPS, start.numel())
            if last or len(basis) % _STEPS_BETWEEN_CHECKS == 0:
                known, products = torch.stack(basis), torch.stack(images).flatten(1)
                gram = (products @ products.T).nan_to_num()  # NaN passes through the layer, as it does through any other, but not through eigh
                right = (torch.linalg.eigh(gram).eigenvectors[:, -1] @ known).reshape(start.shape)
                image = self.apply_map(weight, right)
                norm = image.norm()
                left = image / norm.clamp_min(torch.finfo(image.dtype).tiny)
                if last or not bool((self.apply_transpose(weight, left) - norm * right).norm() > tolerance * norm):
                    return left, right
            vector = self._next(weight, images[-1], torch.stack(basis), rounding)

    def _next(self, weight: Tensor, image: Tensor, known: Tensor, rounding: float) -> Tensor:
        """The direction in which W^T W leaves the known space; zero where nothing but rounding is left, which does no harm."""
        vector = self.apply_transpose(weight, image).flatten()
        before = vector.norm()
        for _ in range(2):  # once leaves rounding errors of the size of what was removed
            vector = vector - (known @ vector) @ known
        after = vector.norm()
        return torch.where(after > rounding * before, vector / after, torch.zeros_like(vector))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_found": None}


@final
class LipschitzLinear(nn.Linear):
    r""":math:`y = \min(1, c / \sigma(W))\, W x + b`, so that :math:`|y - y'| \le c\, |x - x'|`; after Miyato et al., arXiv 1802.05957.

    The same function in training and evaluation, and of the weight alone: the forward pass and the inverse of a bijection see one map. :math:`\sigma` is
    estimated (`OperatorNorm`), with a margin of 1% above the estimate; it is no proof, `certified_norm` is.

    Arguments:
        in_features: size of x.
        out_features: size of y.
        lipschitz: c.

    Raises:
        BijectionError: when c is not positive.

    Example:
        >>> import torch
        >>> layer = LipschitzLinear(8, 8, lipschitz=0.5)
        >>> _ = torch.nn.init.normal_(layer.weight)
        >>> layer.certified_norm() <= 0.5
        True
    """

    def __init__(self, in_features: int, out_features: int, *, lipschitz: float) -> None:
        super().__init__(in_features, out_features)
        self.lipschitz = _positive(type(self).__name__, lipschitz)
        self.norm = OperatorNorm((in_features,), _matrix_vector, _transpose_vector)

    @remembered
    def bounded_weight(self) -> Tensor:
        """The weight in use, rescaled where it is too large."""
        return _rescaled(self.weight, self.norm, self.lipschitz)

    @torch.no_grad()
    def certified_norm(self) -> float:
        """The operator norm of the weight in use, by singular values in float64."""
        return float(torch.linalg.matrix_norm(self.bounded_weight().double(), 2))

    def forward(self, input: Tensor) -> Tensor:
        return functional.linear(input, self.bounded_weight(), self.bias)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, lipschitz={self.lipschitz:.4g}"


@final
class LipschitzConv2d(nn.Conv2d):
    r""":math:`y = \min(1, c / \sigma(W))\, W * x + b` with :math:`\sigma` the norm of the zero-padded convolution on a given grid.

    As `LipschitzLinear`; the norm is that of the convolution as it is applied (Gouk et al., arXiv 1804.04368), not of its kernel reshaped to a
    matrix, which may be off by the size of the kernel in either direction.

    Arguments:
        in_channels: channels of x.
        out_channels: channels of y.
        kernel_size: side of the kernel, odd; the padding keeps the grid.
        lipschitz: c.
        grid: ``(height, width)`` of x.

    Raises:
        BijectionError: when c is not positive, or the side of the kernel is even.
        InputShapeError: in the call, for another grid: the norm is not known there.

    Example:
        >>> import torch
        >>> layer = LipschitzConv2d(2, 3, lipschitz=1.0, grid=(5, 7))
        >>> layer(torch.randn(1, 2, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, lipschitz: float, grid: tuple[int, int]) -> None:
        if kernel_size % 2 == 0:
            raise BijectionError(f"{type(self).__name__}: kernel_size is {kernel_size}, expected an odd number, so that padding keeps the grid")
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.lipschitz = _positive(type(self).__name__, lipschitz)
        self.grid = tuple(grid)
        padding = kernel_size // 2
        self.norm = OperatorNorm((in_channels, *grid), partial(_convolution, padding=padding), partial(_transposed_convolution, padding=padding))

    @remembered
    def bounded_weight(self) -> Tensor:
        """The kernel in use, rescaled where it is too large."""
        return _rescaled(self.weight, self.norm, self.lipschitz)

    @torch.no_grad()
    def certified_norm(self) -> float:
        """An upper bound on the operator norm of the convolution in use, in float64.

        The zero-padded convolution is a part of the circular one on a grid larger by the padding, whose singular values are those of its
        Fourier coefficients (Sedghi et al., arXiv 1805.10408). On small grids the bound is a few percent above the norm.
        """
        torus = [side + kernel - 1 for side, kernel in zip(self.grid, self.kernel_size, strict=True)]
        coefficients = torch.fft.fft2(self.bounded_weight().double(), s=torus)  # (out, in, *torus)
        return float(torch.linalg.matrix_norm(coefficients.permute(2, 3, 0, 1), 2).max())

    def forward(self, input: Tensor) -> Tensor:
        if tuple(input.shape[-2:]) != self.grid:
            raise InputShapeError(
                f"{type(self).__name__}: input of grid {tuple(input.shape[-2:])}, expected {self.grid}; the norm is that of this grid, build a layer for yours"
            )
        return functional.conv2d(input, self.bounded_weight(), self.bias, padding=self.padding)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, lipschitz={self.lipschitz:.4g}, grid={self.grid}"  # type: ignore[no-untyped-call]


def linear_layer(in_features: int, out_features: int, lipschitz: float | None) -> nn.Linear:
    """A linear layer, bounded where a bound is given."""
    return nn.Linear(in_features, out_features) if lipschitz is None else LipschitzLinear(in_features, out_features, lipschitz=lipschitz)


def conv_layer(in_channels: int, out_channels: int, lipschitz: float | None, grid: tuple[int, int] | None) -> nn.Conv2d:
    """A 3x3 convolution, bounded on its grid where a bound is given."""
    if lipschitz is None:
        return nn.Conv2d(in_channels, out_channels, 3, padding=1)
    if grid is None:
        raise BijectionError(f"lipschitz = {lipschitz} bounds convolutions on one grid, but none is given; pass grid = (height, width)")
    return LipschitzConv2d(in_channels, out_channels, lipschitz=lipschitz, grid=grid)


@dataclass(frozen=True)
class LipschitzShares:
    """How a conditioner shares out its constant: bounds of its first layer, of each residual block and of its last layer; None where there is no bound."""

    first: float | None = None
    block: float | None = None
    last: float | None = None

    @classmethod
    def of(cls, lipschitz: float | None, *, blocks: int) -> LipschitzShares:
        r"""Shares for :math:`W \circ (1 + \sigma W_n) \circ \dots \circ (1 + \sigma W_1) \circ \sigma W_0` with SiLU as :math:`\sigma`.

        The blocks together stretch by at most :math:`(1 + 1/n)^n < e` for any number n of them.
        """
        if lipschitz is None:
            return cls()
        number = max(blocks, 1)
        return cls(first=1 / SILU_LIPSCHITZ, block=1 / (SILU_LIPSCHITZ * number), last=lipschitz / (1 + 1 / number) ** blocks)


def _positive(layer: str, lipschitz: float) -> float:
    if not 0 < lipschitz < math.inf:
        raise BijectionError(f"{layer}: lipschitz is {lipschitz}, expected a positive finite number")
    return lipschitz


def _rescaled(weight: Tensor, norm: OperatorNorm, lipschitz: float) -> Tensor:
    # Where the norm is small enough the factor is 1 to the bit, and has no gradient.
    scale: Tensor = lipschitz / (_MARGIN * norm(weight)).clamp_min(lipschitz)
    return weight * scale.to(weight.dtype)


def _rows(weight: Tensor) -> Tensor:
    """The weight as a matrix, without its graph, in the precision in which it is measured."""
    return weight.detach().reshape(*weight.shape[:1], -1).to(torch.promote_types(weight.dtype, torch.float32))


def _is_transformed(tensor: Tensor) -> bool:
    """Whether ``tensor`` was made in a transform of torch.func, which it must not outlive: it has no storage then."""
    try:
        tensor.data_ptr()
    except RuntimeError:
        return True
    return False


def _matrix_vector(weight: Tensor, vector: Tensor) -> Tensor:
    return weight @ vector


def _transpose_vector(weight: Tensor, image: Tensor) -> Tensor:
    return weight.T @ image


def _convolution(weight: Tensor, vector: Tensor, *, padding: int) -> Tensor:
    return functional.conv2d(vector[None], weight, padding=padding)[0]


def _transposed_convolution(weight: Tensor, image: Tensor, *, padding: int) -> Tensor:
    return functional.conv_transpose2d(image[None], weight, padding=padding)[0]
