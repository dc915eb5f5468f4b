"""A critic on the feature maps of a frozen network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_SEED = 0
_SLOPE = 0.2


class Critic(nn.Module):
    r"""One logit for each feature map :math:`\phi_l` of an image: large where it looks real, given its category y.

    .. math:: D_l(x, y) = \mathrm{mean}_{ij}\, w^T h_{ij} + e_y^T \bar h, \qquad h = \rho(W_2 * \rho(W_1 \phi_l(x)))

    with :math:`\rho` the leaky ReLU. That a critic on frozen features trains much faster than one on pixels was found by Sauer et al., arXiv 2111.01007; the
    product with an embedding of y is that of Miyato and Koyama, arXiv 1802.05637. It draws its weights with a seed of its own, and has no buffers.

    Args:
        channels: C_l of every map.
        width: hidden channels.
        categories: how many categories there are; 0 for none.

    Example:
        >>> critic = Critic([3, 5], width=8, categories=2)
        >>> critic([torch.ones(4, 3, 6, 6), torch.ones(4, 5, 2, 2)], torch.tensor([0, 1, 0, 1])).shape
        torch.Size([4, 2])
    """

    def __init__(self, channels: Sequence[int], *, width: int, categories: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            self.heads = nn.ModuleList(_Head(count, width, categories) for count in channels)

    def forward(self, maps: Sequence[Tensor], category: Tensor | None) -> Tensor:
        """Logits ``(B, L)`` of L maps ``(B, C_l, H_l, W_l)`` with vectors of norm 1, and categories ``(B,)``."""
        return torch.stack([head(each, category) for head, each in zip(self.heads, maps, strict=True)], 1)


class _Head(nn.Module):
    def __init__(self, channels: int, width: int, categories: int) -> None:
        super().__init__()
        self.scale = channels**0.5  # entries of order 1
        self.first = nn.Conv2d(channels, width, 1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Linear(width, 1)
        self.embedding = nn.Parameter(torch.zeros(categories, width)) if categories else None

    def forward(self, x: Tensor, category: Tensor | None) -> Tensor:
        h = functional.leaky_relu(self.first(self.scale * x), _SLOPE)
        h = functional.leaky_relu(self.second(h), _SLOPE).mean((2, 3))
        logit: Tensor = self.last(h)[:, 0]
        return logit if self.embedding is None or category is None else logit + (self.embedding[category] * h).sum(1)


def gradient_penalty(maps: Sequence[Tensor], logits: Tensor) -> Tensor:
    r""":math:`H_l W_l\, |\partial D_l / \partial \phi_l|^2`, the sum over a batch and the mean over maps; Mescheder et al., arXiv 1801.04406.

    The factor makes it the same for any resolution.
    """
    gradients = torch.autograd.grad(logits.sum(), list(maps), create_graph=True)
    return torch.stack([gradient.square().sum() * gradient.shape[2] * gradient.shape[3] for gradient in gradients]).mean()
