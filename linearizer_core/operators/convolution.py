"""Circular convolutions of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, TypeGuard, final

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.errors import DenseLimitError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import base, torus
from linearizer_core.operators.base import SVD, LinearOperator, Scalar
from linearizer_core.operators.matrix_functions import expm, one_norm, principal_powers, reciprocal_above
from linearizer_core.operators.scaled_identity import ScaledIdentity

_DIRECT = 81
"""Kernels of at most so many places are applied in space, larger ones by FFT."""


@final
class Convolution(LinearOperator):
    r"""The circular convolution of images of C channels on a ``grid`` of H x W places, flattened: :math:`(A z)_o(p) = \sum_i \sum_q k_{oi}(q)\, z_i(p - q)`.

    ``kernel`` has the shape ``(G, c, c, h, w)``: C = G c channels in G blocks that do not mix. One block, ``kernel[None]`` of ``(C, C, h, w)``, is a full
    convolution; C blocks of one channel, ``kernel[:, None, None]`` of ``(C, h, w)``, a depthwise one. The origin is the entry ``(h // 2, w // 2)``; h and w are
    odd, or those of the grid; what is longer wraps around it.

    The Fourier transform turns A into one c x c matrix for each block and frequency. So products, inverses, pseudo-inverses, powers, exponentials and singular
    values cost :math:`O(D c^2)` for D = C H W, in complex128, and stay convolutions; sums and products of small kernels stay small. The same kernel is an
    operator on a grid of any size.

    Raises:
        ShapeMismatchError: for a kernel or a grid of another shape, or a kernel with an even side that is not that of the grid.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Convolution
        >>> blur = Convolution(torch.tensor([[[[[0.25, 0.5, 0.25]]]]], dtype=torch.float64), (1, 5))
        >>> z = torch.tensor([0.0, 0.0, 4.0, 0.0, 0.0], dtype=torch.float64)
        >>> blur(z).tolist(), (blur @ blur).kernel.shape[-1], (blur.inverse() @ blur)(z).round(decimals=12).abs().tolist()
        ([0.0, 1.0, 2.0, 1.0, 0.0], 5, [0.0, 0.0, 4.0, 0.0, 0.0])
    """

    kind: ClassVar[str] = "convolution"
    fields: ClassVar[tuple[str, ...]] = ("kernel", "grid")

    def __init__(self, kernel: Tensor, grid: Sequence[int] | Tensor) -> None:
        sides = tuple(grid.flatten().tolist() if isinstance(grid, Tensor) else grid)
        square = kernel.ndim == 5 and kernel.shape[1] == kernel.shape[2] and kernel.numel() > 0
        if not square or len(sides) != 2 or min(sides) < 1 or not all(torus.fits(*pair) for pair in zip(kernel.shape[-2:], sides, strict=True)):
            raise ShapeMismatchError(
                f"Convolution: kernel {tuple(kernel.shape)} on grid {sides}, expected (G, c, c, h, w) with h and w odd, or equal to H and W of the grid (H, W)"
            )
        self.grid: torus.Grid = (int(sides[0]), int(sides[1]))
        self.kernel = torus.folded(kernel, self.grid)

    @property
    def channels(self) -> int:
        """C, the number of channels."""
        return len(self.kernel) * self.kernel.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        dim = self.channels * math.prod(self.grid)
        return dim, dim

    @property
    def dtype(self) -> torch.dtype:
        return self.kernel.dtype

    @property
    def device(self) -> torch.device:
        return self.kernel.device

    @property
    def T(self) -> Convolution:
        return Convolution(torus.reflected(self.kernel).transpose(1, 2), self.grid)

    def tensors(self) -> dict[str, Tensor]:
        return {"kernel": self.kernel, "grid": torch.tensor(self.grid)}

    def transfer(self) -> Tensor:
        """The matrices of the frequencies, ``(G, H, W // 2 + 1, c, c)``, complex: half of them, the others are their conjugates."""
        return torus.spectrum(self.kernel, self.grid)

    def _apply(self, z: Tensor) -> Tensor:
        if not z.numel():
            return z  # FFTs refuse an empty batch
        images = z.reshape(math.prod(z.shape[:-1]), *self.kernel.shape[:2], *self.grid)
        height, width = self.kernel.shape[-2:]
        if height * width <= _DIRECT and height % 2 and width % 2:
            rows, columns = height // 2, width // 2
            padded = functional.pad(images.flatten(1, 2), (columns, columns, rows, rows), mode="circular")
            weight = torus.reflected(self.kernel).flatten(0, 1)  # what is called a convolution there is a correlation
            return functional.conv2d(padded, weight, groups=len(self.kernel)).reshape(z.shape)
        spectrum = torch.einsum("ghwoi,bgihw->bgohw", self.transfer(), torch.fft.rfft2(images))
        result: Tensor = torch.fft.irfft2(spectrum, s=self.grid)
        return result.reshape(z.shape)

    def _scale(self, factor: Scalar) -> Convolution:
        return Convolution(self.kernel * factor, self.grid)

    def _matmul(self, other: LinearOperator) -> LinearOperator | None:
        if not self._meets(other):
            return None
        left, right = torus.common_groups(self.kernel, other.kernel)
        size = torus.product_size(left, right, self.grid)
        return Convolution(torus.kernel_of(torus.spectrum(left, size) @ torus.spectrum(right, size), size), self.grid)

    def _add(self, other: LinearOperator) -> LinearOperator | None:
        if isinstance(other, ScaledIdentity):
            return self if other.is_exactly(0) else Convolution(self.kernel + other.scale * torus.identity_kernel(self.kernel), self.grid)
        if not self._meets(other):
            return None
        left, right = torus.common_groups(self.kernel, other.kernel)
        size = (max(left.shape[-2], right.shape[-2]), max(left.shape[-1], right.shape[-1]))
        return Convolution(torus.enlarged(left, size) + torus.enlarged(right, size), self.grid)

    def inverse(self) -> Convolution:
        matrices = self._wide_transfer()
        inverses, info = torch.linalg.inv_ex(matrices)
        reciprocal = 0.0 if bool(info.any()) else 1 / (one_norm(matrices).max() * one_norm(inverses).max()).item()
        if not reciprocal > self._precision:
            raise SingularOperatorError(f"inverse of {self!r}: reciprocal condition number {reciprocal:.1e}, expected above {self._precision:.1e}; use pinv")
        return self._with_transfer(inverses)

    def pinv(self, rtol: float | None = None) -> Convolution:
        left, values, right = torch.linalg.svd(self._wide_transfer())
        kept = reciprocal_above(values, self._relative_tolerance(rtol) * values.max().item())
        return self._with_transfer((right.mH * kept[..., None, :]) @ left.mH)

    def trace(self) -> Tensor:
        height, width = self.kernel.shape[-2:]
        return math.prod(self.grid) * self.kernel[..., height // 2, width // 2].diagonal(dim1=1, dim2=2).sum()

    def expm(self, t: float = 1.0) -> Convolution:
        return self._with_transfer(expm(t * self._wide_transfer()))

    def _real_power(self, exponent: float) -> Convolution:
        if exponent < 0:
            return self.inverse()._real_power(-exponent)
        return self._with_transfer(principal_powers(self._wide_transfer(), exponent, self._precision))

    def _singular_values(self) -> tuple[Tensor, Tensor]:
        values = torch.linalg.svdvals(self._wide_transfer())
        times = torus.multiplicities(self.grid, self.device)[:, None].expand_as(values)
        return values.flatten(), times.flatten()

    def _svd(self) -> SVD:
        dim = self.shape[0]
        if dim > base.DENSE_LIMIT:
            raise DenseLimitError(
                f"svd of {self!r} would write out {dim} vectors of as many entries, limit {base.DENSE_LIMIT}; "
                "singular_values, norm, rank, cond, pinv and inverse need no vectors"
            )
        transfer, waves = self._wide_transfer(), torus.waves(self.grid, self.device)
        once, twice = torus.distinct_frequencies(self.grid, self.device)
        parts = []
        for frequencies, part in ((once, transfer[:, once].real), (twice, transfer[:, twice])):
            left, values, right = torch.linalg.svd(part)
            parts.append((torus.real_modes(left, waves[frequencies]), values.flatten(1), torus.real_modes(right.mH, waves[frequencies])))
        (first_left, first, first_right), (second_left, second, second_right) = parts
        values = torch.cat([first, second, second], dim=1).flatten()
        order = values.argsort(descending=True)
        left, right = (torus.block_diagonal(torch.cat(pair, dim=2))[:, order] for pair in ((first_left, second_left), (first_right, second_right)))
        return SVD(left, values[order], right)

    @property
    def _precision(self) -> float:
        return torch.finfo(self.dtype).eps * max(self.kernel.shape[1], *self.grid)

    def _meets(self, other: LinearOperator) -> TypeGuard[Convolution]:
        return isinstance(other, Convolution) and (other.grid, other.channels) == (self.grid, self.channels)

    def _wide_transfer(self) -> Tensor:
        """`transfer` in complex128, frequencies in one row: ``(G, H (W // 2 + 1), c, c)``."""
        return torus.spectrum(self.kernel.double(), self.grid).flatten(1, 2)

    def _with_transfer(self, matrices: Tensor) -> Convolution:
        return Convolution(torus.kernel_of(matrices.reshape(len(matrices), self.grid[0], -1, *matrices.shape[2:]), self.grid), self.grid).to(self.dtype)
