"""Whitening of flat latents, in closed form."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from linearizer_core.bijections.affine.float64 import Float64Constants
from linearizer_core.bijections.base import TractableBijection, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import DataError


@final
class Whiten(TractableBijection):
    r""":math:`z = (x - \mu)\, \Sigma^{-1/2}` with the mean and covariance of given latents; the symmetric root moves them least.

    The identity until `fit` is called. Mean and matrices keep their float64 bits whatever the dtype of the model.

    Arguments:
        dim: D, the size of the flat latents.

    Example:
        >>> import torch
        >>> latents = torch.randn(100, 3, dtype=torch.float64) @ torch.tensor([[2.0, 1, 0], [0, 1, 0], [0, 0, 5]], dtype=torch.float64)
        >>> whiten = Whiten(3)
        >>> whiten.fit(latents)
        >>> torch.allclose(torch.cov(whiten(latents).T, correction=0), torch.eye(3, dtype=torch.float64))
        True
    """

    def __init__(self, dim: int) -> None:
        super().__init__((dim,))
        self.constants = Float64Constants(
            mean=torch.zeros(dim, dtype=torch.float64),
            whitener=torch.eye(dim, dtype=torch.float64),
            unwhitener=torch.eye(dim, dtype=torch.float64),
            logdet=torch.zeros((), dtype=torch.float64),
        )
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Take mean and covariance from ``latents`` of shape ``(N, D)``.

        Raises:
            InputShapeError: when the shape is another.
            DataError: when there are too few latents, or when they do not fill the space.
        """
        self.check_input(latents)
        if len(latents) <= self.dim:
            raise DataError(f"Whiten.fit: {len(latents)} latents of {self.dim} dimensions, expected more than {self.dim}; give more data")
        mean = self.constants["mean"]
        values = latents.to(mean)
        centred = values - values.mean(0)
        variances, axes = torch.linalg.eigh(centred.T @ centred / len(values))
        resolved = self.dim * torch.finfo(variances.dtype).eps * variances.max()
        if not bool(variances.min() > resolved):
            found = int((variances > resolved).sum())
            raise DataError(
                f"Whiten.fit: the latents fill {found} of {self.dim} dimensions (or are not finite), expected all; "
                "add a little noise to them, or drop coordinates that are constant"
            )
        deviations = variances.sqrt()
        mean.copy_(values.mean(0))
        self.constants["whitener"].copy_((axes / deviations) @ axes.T)
        self.constants["unwhitener"].copy_((axes * deviations) @ axes.T)
        self.constants["logdet"].copy_(-deviations.log().sum())
        self.get_buffer("fitted").fill_(True)

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_input(x)
        with full_precision(x):
            z = (x - self.constants["mean"].to(x.dtype)) @ self.constants["whitener"].to(x.dtype)
            return z, self.constants["logdet"].to(x.dtype).expand(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self.check_latent(z)
        with full_precision(z):
            x = z @ self.constants["unwhitener"].to(z.dtype) + self.constants["mean"].to(z.dtype)
            return x, -self.constants["logdet"].to(z.dtype).expand(len(z))
