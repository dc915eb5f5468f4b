"""Orthogonal mixing of channels, fixed or learned."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.affine.float64 import Float64Constants
from linearizer_core.bijections.affine.permutation import inverse_permutation
from linearizer_core.bijections.base import Shape, VolumePreserving, full_precision
from linearizer_core.bijections.memory.replay import Replay
from linearizer_core.bijections.remembered import remembered
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError

DENSE_MIXING_LIMIT = 64
"""Largest number of channels that `FixedOrthogonal` mixes by one dense matrix."""

CAYLEY_LIMIT = 2048
"""Largest number of channels of `CayleyMixing`, whose every call in training solves a linear system of that size in float64."""


@final
class FixedOrthogonal(VolumePreserving):
    r""":math:`z = Q x` along the first dimension, Q a random orthogonal matrix that is not learned.

    Up to 64 channels Q is dense. Above, :math:`Q = (Q_1 \otimes Q_2) S P` with a permutation P, signs S and two factors of nearly
    equal size (one, for a prime), so that a model of 784 dimensions stores 1,568 numbers per mixing and not 614,656.
    Matrices keep their float64 bits whatever the dtype of the model, and are cast where they are used.

    Arguments:
        in_shape: shape of one example; channels lie along its first dimension.
        seed: two mixings of one size and seed are equal.

    Example:
        >>> import torch
        >>> mixing = FixedOrthogonal((6, 4, 4), seed=0)
        >>> x = torch.randn(2, 6, 4, 4, dtype=torch.float64)
        >>> torch.allclose(mixing(x).norm(), x.norm(), rtol=1e-14)
        True
    """

    def __init__(self, in_shape: Shape, *, seed: int) -> None:
        super().__init__(in_shape)
        channels = self.in_shape[0]
        generator = torch.Generator().manual_seed(seed)
        left = _largest_factor_up_to_root(channels) if channels > DENSE_MIXING_LIMIT else 1
        self.is_dense = left == 1
        if self.is_dense:
            self.factors = Float64Constants(right=_random_orthogonal(channels, generator))
            return
        self.factors = Float64Constants(
            left=_random_orthogonal(left, generator),
            right=_random_orthogonal(channels // left, generator),
            signs=torch.randint(0, 2, (channels, 1), generator=generator, dtype=torch.float64) * 2 - 1,
        )
        self.register_buffer("permutation", torch.randperm(channels, generator=generator))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        with full_precision(x):
            columns = x.reshape(len(x), self.in_shape[0], math.prod(self.in_shape[1:]))
            if not self.is_dense:
                columns = columns.index_select(1, self.get_buffer("permutation")) * self.factors["signs"].to(x.dtype)
            return self._multiply(columns, transpose=False).reshape(x.shape)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        with full_precision(z):
            columns = self._multiply(z.reshape(len(z), self.in_shape[0], math.prod(self.in_shape[1:])), transpose=True)
            if not self.is_dense:
                columns = (columns * self.factors["signs"].to(z.dtype)).index_select(1, inverse_permutation(self.get_buffer("permutation")))
            return columns.reshape(z.shape)

    def _multiply(self, columns: Tensor, *, transpose: bool) -> Tensor:
        """Multiply ``(B, C, N)`` by the dense matrix, or by the Kronecker product of the two factors."""
        right = self.factors["right"].to(columns.dtype)
        right = right.T if transpose else right
        if self.is_dense:
            return mix_channels(right, columns)
        left = self.factors["left"].to(columns.dtype)
        left = left.T if transpose else left
        if columns.shape[2] == 1:
            return (left @ (columns.reshape(len(columns), len(left), len(right)) @ right.T)).reshape(columns.shape)
        blocks = columns.reshape(len(columns), len(left), len(right), columns.shape[2])
        mixed: Tensor = torch.einsum("il,bljn->bijn", left, torch.einsum("jr,blrn->bljn", right, blocks))
        return mixed.flatten(1, 2)


@final
class CayleyMixing(VolumePreserving):
    r""":math:`z = Q x` along the first dimension, :math:`Q = (I - W)(I + W)^{-1}` with a learned skew-symmetric W.

    Q is orthogonal to float64 rounding for any parameters, so no projection is needed and the inverse is :math:`Q^T`.
    W starts at random, of operator norm about 2, so that Q mixes from the first step. In training each call costs O(C^3), in float64; in evaluation Q is
    `remembered`.

    Arguments:
        in_shape: shape of one example; channels lie along its first dimension.
        seed: draws the initial W.

    Raises:
        BijectionError: above 2,048 channels.

    Example:
        >>> import torch
        >>> mixing = CayleyMixing((5,), seed=0)
        >>> x = torch.randn(2, 5)
        >>> torch.allclose(mixing.inverse(mixing(x)), x, atol=1e-5)
        True
    """

    def __init__(self, in_shape: Shape, *, seed: int) -> None:
        super().__init__(in_shape)
        channels = self.in_shape[0]
        if channels > CAYLEY_LIMIT:
            raise BijectionError(f"CayleyMixing: {channels} channels, expected at most {CAYLEY_LIMIT} (it solves a system of that size); use FixedOrthogonal")
        generator = torch.Generator().manual_seed(seed)
        count = channels * (channels - 1) // 2
        self.skew = nn.Parameter((torch.randn(count, generator=generator, dtype=torch.float64) / channels**0.5).to(torch.get_default_dtype()))

    def orthogonal_matrix(self) -> Tensor:
        """Q, of shape ``(C, C)``, in float64."""
        channels = self.in_shape[0]
        row, column = torch.triu_indices(channels, channels, 1, device=self.skew.device)
        upper = self.skew.new_zeros(channels, channels, dtype=torch.float64).index_put((row, column), self.skew.double())
        skew = upper - upper.T
        identity = torch.eye(channels, dtype=torch.float64, device=self.skew.device)
        matrix: Tensor = torch.linalg.solve(identity + skew, identity - skew)
        return matrix

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        with full_precision(x):
            return mix_channels(self._cast_matrix(x.dtype), x)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        with full_precision(z):
            return mix_channels(self._cast_matrix(z.dtype).T, z)

    @remembered
    def _cast_matrix(self, dtype: torch.dtype) -> Tensor:
        return self.orthogonal_matrix().to(dtype)

    def replay(self, z: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return self._replay(z, inverse=False)

    def replay_inverse(self, x: Tensor, condition: Condition | None = None, *, with_logdet: bool = False) -> Replay:
        return self._replay(x, inverse=True)

    def _replay(self, end: Tensor, *, inverse: bool) -> Replay:
        """One linear system serves to undo the step and to repeat it."""
        with torch.enable_grad(), full_precision(end):
            matrix = self.orthogonal_matrix()
            matrix = matrix.T if inverse else matrix
            start = mix_channels(matrix.detach().T, end)
            return Replay.of(start, lambda leaf: (mix_channels(matrix, leaf), None))


def mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """The matrix ``(C, C)``, cast to the dtype of ``x``, times ``x`` of shape ``(B, C, ...)`` at every position."""
    matrix, positions = matrix.to(x.dtype), math.prod(x.shape[2:])
    if positions == 1:  # one kernel; einsum would launch one too, after a dozen views, and leave the result transposed
        return (x.reshape(x.shape[:2]) @ matrix.T).reshape(x.shape)
    mixed: Tensor = torch.einsum("oc,bcn->bon", matrix, x.reshape(*x.shape[:2], positions))
    return mixed.reshape(x.shape)


def _random_orthogonal(size: int, generator: torch.Generator) -> Tensor:
    """A Haar-distributed orthogonal matrix in float64: QR with the signs of R's diagonal moved into Q."""
    q, r = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64))
    matrix: Tensor = q * r.diagonal().sign()
    return matrix


def _largest_factor_up_to_root(number: int) -> int:
    return next(factor for factor in range(math.isqrt(number), 0, -1) if number % factor == 0)
