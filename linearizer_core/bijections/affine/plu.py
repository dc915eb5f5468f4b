"""Mixing of channels by a learned matrix whose inverse needs triangular solves alone."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.affine.float64 import Float64Constants
from linearizer_core.bijections.affine.orthogonal import mix_channels
from linearizer_core.bijections.base import Shape, TractableBijection, full_precision
from linearizer_core.bijections.remembered import remembered
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError

PLU_LIMIT = 2048
"""Largest number of channels of `PLUMixing`, whose every call in training multiplies or solves matrices of that size in float64."""


@final
class PLUMixing(TractableBijection):
    r""":math:`z = W x` along the first dimension, :math:`W = P L (U + \mathrm{diag}(s\, e^{l}))` with :math:`l = a \tanh(h / a)`; Kingma and Dhariwal,
    arXiv 1807.03039.

    P is a permutation, L unit lower triangular, U strictly upper triangular. P and the signed diagonal s come from a random orthogonal matrix and stay
    fixed; L, U and h are learned, and W starts as that matrix. The bound keeps :math:`|\det W|` within :math:`e^{\pm a C}`, so W never becomes singular.
    How far it stretches single directions is not bounded, since L and U are free; `CayleyMixing` stretches none. Each call in training
    costs O(C^3), in float64; in evaluation W and its inverse are `remembered`.

    Arguments:
        in_shape: shape of one example; C channels lie along its first dimension.
        seed: draws the initial W.
        log_diagonal_bound: a.

    Raises:
        BijectionError: above 2,048 channels.

    Example:
        >>> import torch
        >>> mixing = PLUMixing((5,), seed=0)
        >>> x = torch.randn(2, 5)
        >>> torch.allclose(mixing.inverse(mixing(x)), x, atol=1e-5)
        True
    """

    def __init__(self, in_shape: Shape, *, seed: int, log_diagonal_bound: float = 1.0) -> None:
        super().__init__(in_shape)
        channels = self.in_shape[0]
        if channels > PLU_LIMIT:
            raise BijectionError(f"PLUMixing: {channels} channels, expected at most {PLU_LIMIT} (it solves systems of that size); use FixedOrthogonal")
        self.log_diagonal_bound = log_diagonal_bound
        generator = torch.Generator().manual_seed(seed)
        orthogonal = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=torch.float64)).Q
        permutation, lower, upper = torch.linalg.lu(orthogonal)
        row, column = torch.tril_indices(channels, channels, -1)
        self.lower = nn.Parameter(lower[row, column].to(torch.get_default_dtype()))
        self.upper = nn.Parameter(upper[column, row].to(torch.get_default_dtype()))
        self.raw_log_diagonal = nn.Parameter(torch.zeros(channels))
        self.constants = Float64Constants(diagonal=upper.diagonal().clone())
        self.register_buffer("rows", permutation.argmax(1))

    def matrix(self) -> Tensor:
        """W, of shape ``(C, C)``, in float64."""
        lower, upper = self._triangles()
        return (lower @ upper)[self.get_buffer("rows")]

    def inverse_matrix(self) -> Tensor:
        """The inverse of W, of shape ``(C, C)``, in float64, by two triangular solves."""
        lower, upper = self._triangles()
        unpermute = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)[:, self.get_buffer("rows")]
        inverse: Tensor = torch.linalg.solve_triangular(upper, torch.linalg.solve_triangular(lower, unpermute, upper=False, unitriangular=True), upper=True)
        return inverse

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        with full_precision(x):
            return mix_channels(self._cast_matrix(x.dtype), x), self._logdet(x)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        with full_precision(z):
            return mix_channels(self._cast_inverse(z.dtype), z), -self._logdet(z)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        with full_precision(x):
            return mix_channels(self._cast_matrix(x.dtype), x)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        with full_precision(z):
            return mix_channels(self._cast_inverse(z.dtype), z)

    @remembered
    def _cast_matrix(self, dtype: torch.dtype) -> Tensor:
        return self.matrix().to(dtype)

    @remembered
    def _cast_inverse(self, dtype: torch.dtype) -> Tensor:
        return self.inverse_matrix().to(dtype)

    def _triangles(self) -> tuple[Tensor, Tensor]:
        channels = self.in_shape[0]
        row, column = torch.tril_indices(channels, channels, -1, device=self.lower.device)
        lower = torch.eye(channels, dtype=torch.float64, device=self.lower.device).index_put((row, column), self.lower.double())
        upper = torch.diag(self.constants["diagonal"] * self._log_diagonal().exp()).index_put((column, row), self.upper.double())
        return lower, upper

    def _log_diagonal(self) -> Tensor:
        raw = self.raw_log_diagonal.double()
        return self.log_diagonal_bound * torch.tanh(raw / self.log_diagonal_bound)

    def _logdet(self, x: Tensor) -> Tensor:
        # The fixed diagonal is that of an orthogonal matrix: the product of its absolute values is 1.
        return (self._log_diagonal().sum() * math.prod(self.in_shape[1:])).to(x.dtype).expand(len(x))
