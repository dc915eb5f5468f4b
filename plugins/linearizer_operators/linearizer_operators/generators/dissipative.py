"""Matrices whose quadratic form never grows: skew-symmetric minus positive semidefinite."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from linearizer_operators.config import GeneratorConfig


def dissipative_parameters(size: int, config: GeneratorConfig) -> tuple[nn.Parameter, nn.Parameter | None]:
    """What `dissipative_matrix` is made of; no root where the spectrum is conservative."""
    skew = nn.Parameter(config.frequency * torch.randn(size, size) / size**0.5)
    return skew, nn.Parameter((config.decay / size) ** 0.5 * torch.randn(size, size) / size**0.5) if config.spectrum == "stable" else None


def dissipative_matrix(skew: Tensor, root: Tensor | None) -> Tensor:
    r""":math:`M - M^T - R R^T`: :math:`x^T A x = -|R^T x|^2 \le 0`, so no eigenvalue has a real part above 0."""
    turning = skew - skew.mT
    return turning if root is None else turning - root @ root.mT
