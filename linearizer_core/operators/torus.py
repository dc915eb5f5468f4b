"""Kernels on a discrete torus, and their spectra: what circular convolutions are computed with.

A kernel ``(G, c, c, h, w)`` holds G blocks of c x c channels. Its origin is the entry ``(h // 2, w // 2)``; its sides are odd, or those of the whole grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

Grid = tuple[int, int]

_SPACE = (-2, -1)


def folded(kernel: Tensor, grid: Grid) -> Tensor:
    """The kernel with every side that is longer than the grid wrapped around it."""
    for axis, side in zip(_SPACE, grid, strict=True):
        length = kernel.shape[axis]
        if length > side:
            index = (torch.arange(length, device=kernel.device) - length // 2 + side // 2) % side
            shape = list(kernel.shape)
            shape[axis] = side
            kernel = kernel.new_zeros(shape).index_add(axis % kernel.ndim, index, kernel)
    return kernel


def spectrum(kernel: Tensor, grid: Grid) -> Tensor:
    """The transfer matrices ``(G, H, W // 2 + 1, c, c)`` of a kernel on a torus of H x W places: half of them, the others are their conjugates."""
    height, width = kernel.shape[-2:]
    placed = functional.pad(kernel, (0, grid[1] - width, 0, grid[0] - height)).roll((-(height // 2), -(width // 2)), _SPACE)
    transformed: Tensor = torch.fft.rfft2(placed)
    return transformed.permute(0, 3, 4, 1, 2)


def kernel_of(transfer: Tensor, grid: Grid) -> Tensor:
    """The kernel, as large as the torus, with these transfer matrices."""
    kernel: Tensor = torch.fft.irfft2(transfer.permute(0, 3, 4, 1, 2), s=grid)
    return kernel.roll((grid[0] // 2, grid[1] // 2), _SPACE)


def multiplicities(grid: Grid, device: torch.device) -> Tensor:
    """How often each frequency of a half spectrum occurs in the whole one, ``(H (W // 2 + 1),)``: once in the first column, and in the last if W is even."""
    times = torch.full((grid[0], grid[1] // 2 + 1), 2, device=device)
    times[:, [0] if grid[1] % 2 else [0, -1]] = 1
    return times.flatten()


def distinct_frequencies(grid: Grid, device: torch.device) -> tuple[Tensor, Tensor]:
    """The frequencies that are their own opposites, and one of each pair of opposites, as indices into a half spectrum."""
    rows, columns = torch.meshgrid(torch.arange(grid[0], device=device), torch.arange(grid[1] // 2 + 1, device=device), indexing="ij")
    own_column = (2 * columns % grid[1]) == 0
    opposite = -rows % grid[0]
    once = own_column & (rows == opposite)
    return once.flatten().nonzero()[:, 0], (~own_column | (rows < opposite)).flatten().nonzero()[:, 0]


def waves(grid: Grid, device: torch.device) -> Tensor:
    """The plane waves of a half spectrum, of norm 1: ``(H (W // 2 + 1), H W)``, complex128."""
    height, width = (torch.arange(side, dtype=torch.float64, device=device) / side for side in grid)
    rows = torch.arange(grid[0], device=device)[:, None] * height
    columns = torch.arange(grid[1] // 2 + 1, device=device)[:, None] * width
    phase = rows[:, None, :, None] + columns[None, :, None, :]
    return torch.polar(torch.full_like(phase, math.prod(grid) ** -0.5), 2 * math.pi * phase).flatten(2).flatten(0, 1)


def real_modes(vectors: Tensor, waves: Tensor) -> Tensor:
    """Real orthonormal vectors ``(G, c P, n)`` of vectors ``(G, F, c, k)`` of the channels at the frequencies of ``waves`` ``(F, P)``.

    Real ones belong to frequencies that are their own opposites, n = F k; of complex ones the real and the imaginary part are taken, n = 2 F k.
    """
    if not vectors.is_complex():
        return torch.einsum("gfok,fp->gopfk", vectors, waves.real).flatten(1, 2).flatten(2)
    modes = torch.einsum("gfok,fp->gopfk", vectors, waves).flatten(1, 2).flatten(2)
    return 2**0.5 * torch.cat([modes.real, modes.imag], dim=2)


def reflected(kernel: Tensor) -> Tensor:
    """The kernel of ``z(p) -> z(-p)``: the entry at offset q moves to -q."""
    even = [axis for axis in _SPACE if kernel.shape[axis] % 2 == 0]  # the farthest offset of an even grid is its own opposite
    return kernel.flip(_SPACE).roll([1] * len(even), even) if even else kernel.flip(_SPACE)


def enlarged(kernel: Tensor, size: Grid) -> Tensor:
    """The kernel with zeros around it, up to ``size``."""
    (top, bottom), (left, right) = (_margins(length, side) for length, side in zip(kernel.shape[-2:], size, strict=True))
    return functional.pad(kernel, (left, right, top, bottom))


def identity_kernel(kernel: Tensor) -> Tensor:
    """The kernel of the identity, of the shape of ``kernel``."""
    one = torch.zeros_like(kernel)
    one[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] = torch.eye(kernel.shape[1], dtype=kernel.dtype, device=kernel.device)
    return one


def regrouped(kernel: Tensor, groups: int) -> Tensor:
    """The same kernel as ``groups`` blocks, a divisor of the number it has: neighbouring blocks become one with zeros beside them."""
    merged = len(kernel) // groups
    if merged == 1:
        return kernel
    size = kernel.shape[1]
    blocks = kernel.reshape(groups, merged, *kernel.shape[1:])
    one = torch.eye(merged, dtype=kernel.dtype, device=kernel.device)
    return torch.einsum("gmoihw,mn->gmonihw", blocks, one).reshape(groups, merged * size, merged * size, *kernel.shape[-2:])


def common_groups(*kernels: Tensor) -> list[Tensor]:
    """The kernels with one number of blocks, the largest that serves all."""
    groups = math.gcd(*(len(kernel) for kernel in kernels))
    return [regrouped(kernel, groups) for kernel in kernels]


def product_size(first: Tensor, second: Tensor, grid: Grid) -> Grid:
    """The sides of the kernel of a product."""
    height, width = (min(a + b - 1, side) for a, b, side in zip(first.shape[-2:], second.shape[-2:], grid, strict=True))
    return height, width


def fits(length: int, side: int) -> bool:
    """Whether a side of a kernel has its origin in the middle, or goes round the whole grid."""
    return length % 2 == 1 or length == side


def _margins(length: int, side: int) -> tuple[int, int]:
    before = side // 2 - length // 2
    return before, side - length - before


def block_diagonal(blocks: Tensor) -> Tensor:
    """The matrix ``(G m, G n)`` with the blocks ``(G, m, n)`` on its diagonal."""
    one = torch.eye(len(blocks), dtype=blocks.dtype, device=blocks.device)
    return torch.einsum("gmn,gh->gmhn", blocks, one).flatten(2).flatten(0, 1)
