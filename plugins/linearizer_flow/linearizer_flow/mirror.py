"""Mirror images."""

from __future__ import annotations

import torch
from torch import Tensor


def mirrored(x: Tensor, generator: torch.Generator) -> Tensor:
    """Images ``(B, C, H, W)``, each turned left to right with probability one half."""
    turned = torch.rand(len(x), generator=generator, device=x.device) < 0.5
    return torch.where(turned[:, None, None, None], x.flip(-1), x)
