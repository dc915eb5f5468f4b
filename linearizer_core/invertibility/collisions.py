"""Two inputs with one latent: g that is injective on paper only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition

_NEIGHBOUR = 2.0**-8


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
    under different conditions, are left out.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine
        >>> x = torch.rand(5, 3)
        >>> found = collisions(FixedAffine((3,), shift=1e8, scale=1.0), x)
        >>> found.count == found.pairs  # x + 1e8 in float32 loses what told the examples apart
        True
    """
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    neighbours = x + _NEIGHBOUR * (x.max() - x.min()).clamp(min=_NEIGHBOUR) * signs
    z, near = g(x, condition).flatten(1), g(neighbours, condition).flatten(1)
    row, column = torch.triu_indices(len(x), len(x), 1, device=x.device)
    for tensor in (condition or {}).values():
        rows = tensor.expand(len(x), *tensor.shape[1:]).flatten(1) if tensor.ndim > 1 else tensor.expand(len(x)).unsqueeze(1)
        alike = (rows[row] == rows[column]).all(1)
        row, column = row[alike], column[alike]
    flat = x.flatten(1)
    left = torch.cat([flat[row], flat]), torch.cat([z[row], z])
    right = torch.cat([flat[column], neighbours.flatten(1)]), torch.cat([z[column], near])
    apart, latent_apart = ((a.double() - b.double()).norm(dim=1) for a, b in zip(left, right, strict=True))
    distinct = apart > 0
    size = torch.maximum(left[1].double().norm(dim=1), right[1].double().norm(dim=1))
    # Written so that NaN counts: two latents that are not numbers cannot be told apart either.
    lost = distinct & ~(latent_apart > torch.finfo(x.dtype).eps * size)
    stretch = (latent_apart / apart)[distinct]
    return Collisions(
        pairs=int(distinct.sum()),
        identical=int((distinct & (left[1] == right[1]).all(1)).sum()),
        count=int(lost.sum()),
        smallest_stretch=float(stretch.min()) if len(stretch) else torch.inf,
    )
