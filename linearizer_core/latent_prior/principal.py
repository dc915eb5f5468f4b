"""Whitening of latents that fill a subspace only."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.affine.float64 import Float64Constants
from linearizer_core.errors import DataError


@final
class PrincipalWhiten(nn.Module):
    r"""The first m principal coordinates of flat latents, with unit variance: :math:`u = S^{-1} W^T (z - \mu)`, and back, :math:`z = \mu + W S u`.

    W ``(D, m)`` holds the leading eigenvectors of the covariance of the latents it was fitted to and S their deviations. Directions without variance become
    zero, so that latents in a subspace of any dimension up to D can be taken. The inverse gives points of the affine hull of those latents.

    Arguments:
        dim: D, the size of the latents.
        components: m, at most D.
    """

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.dim, self.components = dim, min(dim, components)
        self.constants = Float64Constants(
            mean=torch.zeros(dim, dtype=torch.float64),
            axes=torch.eye(dim, self.components, dtype=torch.float64),
            deviations=torch.ones(self.components, dtype=torch.float64),
        )

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Take mean and covariance from ``latents`` ``(N, D)``.

        Raises:
            DataError: for fewer than two latents, or latents that are not finite or all the same.
        """
        values = latents.to(self.constants["mean"])
        centred = values - values.mean(0)
        if len(values) < 2 or not bool(centred.isfinite().all()) or not bool(centred.any()):
            raise DataError(f"PrincipalWhiten.fit: {len(values)} latents, expected at least two finite ones that differ; train the bijection first")
        variances, axes = principal_axes(centred)
        found = min(self.components, len(variances))
        resolved = variances[:found] > self.dim * torch.finfo(torch.float64).eps * variances[0]
        self.constants["mean"].copy_(values.mean(0))
        self.constants["axes"].zero_()[:, :found] = axes[:, :found]
        self.constants["deviations"].zero_()[:found] = torch.where(resolved, variances[:found], 0).sqrt()

    def forward(self, z: Tensor) -> Tensor:
        """``(B, D)`` to ``(B, m)``."""
        deviations = self.constants["deviations"]
        inverse = torch.where(deviations > 0, 1 / deviations.where(deviations > 0, 1), 0)
        return (z - self.constants["mean"].to(z.dtype)) @ (self.constants["axes"] * inverse).to(z.dtype)

    def inverse(self, u: Tensor) -> Tensor:
        """``(B, m)`` to ``(B, D)``."""
        return self.constants["mean"].to(u.dtype) + u @ (self.constants["axes"] * self.constants["deviations"]).to(u.dtype).T


def principal_axes(values: Tensor) -> tuple[Tensor, Tensor]:
    r"""Eigenvalues ``(k,)``, descending, and eigenvectors ``(D, k)`` of :math:`X^T X / N` for X ``(N, D)`` in float64.

    k counts the coordinates that are not zero throughout: of latents that a mask cut to few of many, the others cost nothing.
    """
    used = values.ne(0).any(0).nonzero()[:, 0]
    kept = values[:, used]
    variances, axes = torch.linalg.eigh(kept.T @ kept / len(values))
    return variances.flip(0), values.new_zeros(values.shape[1], len(used)).index_copy(0, used, axes.flip(1))
