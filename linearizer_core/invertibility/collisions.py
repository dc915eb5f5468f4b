"""Two inputs with one latent: g that is injective on paper only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility.examples import require_examples

_NEIGHBOUR = 2.0**-8
_BLOCK = 2**22
"""Most numbers in the differences of one block of pairs: 32 MiB in float64."""


@dataclass(frozen=True)
class Collisions:
    """What became of pairs of distinct inputs.

    Attributes:
        pairs: pairs compared.
        identical: pairs whose latents have the same bits.
        count: pairs whose latents rounding cannot tell apart, the identical ones included.
        smallest_stretch: the smallest |g(x) - g(y)| / |x - y|.
    """

    pairs: int
    identical: int
    count: int
    smallest_stretch: float


@torch.no_grad()
def collisions(g: Bijection, x: Tensor, condition: Condition | None = None) -> Collisions:
    r"""Compare the latents of distinct inputs: all pairs of the batch, and every example with a neighbour.

    The neighbour lies off by :math:`\pm 2^{-8}` of the range of ``x`` in every entry, one grey level of a picture. A pair counts where
    :math:`|g(x) - g(y)| \le \epsilon \max(|g(x)|, |g(y)|)` with the machine precision :math:`\epsilon` of ``x``. Pairs of equal inputs, and of examples
    under different conditions, are left out. Memory beyond that of g does not grow with the number of pairs.

    Latents are those of the network as it is called: under autocast its conditioners are lowered.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.

    Raises:
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine
        >>> x = torch.rand(5, 3)
        >>> found = collisions(FixedAffine((3,), shift=1e8, scale=1.0), x)
        >>> found.count == found.pairs  # x + 1e8 in float32 loses what told the examples apart
        True
    """
    require_examples("collisions", x)
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    neighbours = x + _NEIGHBOUR * (x.max() - x.min()).clamp(min=_NEIGHBOUR) * signs
    points, moved = (Points(each.flatten(1), g(each, condition).flatten(1)) for each in (x, neighbours))
    side = max(1, math.isqrt(_BLOCK // max(points.data.shape[1], points.latents.shape[1])))
    return _sum([_compare(points, moved, torch.ones(len(x), dtype=torch.bool, device=x.device)), compare_pairs(points, _groups(x, condition), side=side)])


@dataclass(frozen=True)
class Points:
    """Inputs and their latents, both with examples along all dimensions but the last."""

    data: Tensor
    latents: Tensor

    def __getitem__(self, index: Any) -> Points:
        return Points(self.data[index], self.latents[index])


def compare_pairs(points: Points, groups: Tensor, *, side: int) -> Collisions:
    """Compare every pair of ``points`` of one group, ``side`` examples with ``side`` others at a time.

    ``groups`` is ``(B, K)``; two examples are of one group where all K entries agree.
    """
    index = torch.arange(len(groups), device=groups.device)
    blocks = [slice(start, start + side) for start in range(0, len(groups), side)]
    found: list[Collisions] = []
    for rows, columns in combinations_with_replacement(blocks, 2):
        admitted = (index[rows, None] < index[columns]) & (groups[rows, None] == groups[columns]).all(-1)
        found.append(_compare(points[rows, None], points[columns], admitted))
    return _sum(found)


def _compare(left: Points, right: Points, admitted: Tensor) -> Collisions:
    apart = (left.data.double() - right.data.double()).norm(dim=-1)
    latent_apart = (left.latents.double() - right.latents.double()).norm(dim=-1)
    distinct = admitted & (apart > 0)
    size = torch.maximum(left.latents.double().norm(dim=-1), right.latents.double().norm(dim=-1))
    # Written so that NaN counts: two latents that are not numbers cannot be told apart either.
    lost = distinct & ~(latent_apart > torch.finfo(left.data.dtype).eps * size)
    stretch = (latent_apart / apart)[distinct]
    return Collisions(
        pairs=int(distinct.sum()),
        identical=int((distinct & (left.latents == right.latents).all(-1)).sum()),
        count=int(lost.sum()),
        smallest_stretch=float(stretch.min()) if len(stretch) else torch.inf,
    )


def _groups(x: Tensor, condition: Condition | None) -> Tensor:
    """A number for each condition of each example, ``(B, K)``; equal numbers stand for equal conditions."""
    rows = [tensor.expand(len(x), *tensor.shape[1:]) for tensor in (condition or {}).values()]
    numbers: list[Tensor] = [torch.unique(each, dim=0, return_inverse=True)[1] for each in rows]
    return torch.stack(numbers, 1) if numbers else torch.zeros(len(x), 0, device=x.device)


def _sum(parts: list[Collisions]) -> Collisions:
    return Collisions(
        pairs=sum(part.pairs for part in parts),
        identical=sum(part.identical for part in parts),
        count=sum(part.count for part in parts),
        smallest_stretch=float(torch.tensor([part.smallest_stretch for part in parts], dtype=torch.float64).min()),  # NaN stays NaN
    )
