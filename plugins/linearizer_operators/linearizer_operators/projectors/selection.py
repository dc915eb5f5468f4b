"""Which coordinates a projector keeps."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from linearizer_operators.config import ProjectorConfig


@final
class Selection(nn.Module):
    r"""m in :math:`\{0, 1\}^D`: the first ``rank`` coordinates; those with a positive logit l; or those with the ``rank`` largest logits.

    Learned selections have the gradient of :math:`\sigma(l - \theta)` in place of that of the step (straight-through, arXiv 1308.3432), :math:`\theta`
    being 0 or, for the largest logits, half-way between the last that is kept and the first that is not. Logits are ``config.logit_rate`` times the stored
    parameter, so that an optimiser with one learning rate for everything moves them that much faster.
    """

    leading: Tensor

    def __init__(self, dim: int, config: ProjectorConfig) -> None:
        super().__init__()
        self.dim, self.rank, self.rate = dim, config.rank, config.logit_rate
        self.learned = config.rank is None or config.form == "top_k"
        if self.learned:
            self.scaled_logits = nn.Parameter((config.logit_mean + config.logit_std * torch.randn(dim)) / config.logit_rate)
        else:
            self.register_buffer("leading", (torch.arange(dim) < (config.rank or 0)).to(torch.get_default_dtype()))

    @property
    def logits(self) -> Tensor:
        """l, ``(D,)``, of a learned selection."""
        return self.rate * self.scaled_logits

    def mask(self) -> Tensor:
        """m as booleans, ``(D,)``; of equal logits the first ones are kept."""
        if not self.learned:
            return self.leading > 0
        logits = self.logits.detach()
        if self.rank is None:
            return logits > 0
        kept = logits.sort(descending=True, stable=True).indices[: self.rank]
        return torch.zeros_like(logits, dtype=torch.bool).index_fill(0, kept, True)

    def values(self) -> Tensor:
        """m as numbers, exactly 0 and 1, with the gradient described above."""
        if not self.learned:
            return self.leading
        soft = (self.logits - self._threshold()).sigmoid()
        return self.mask().to(soft.dtype) + (soft - soft.detach())

    def _threshold(self) -> Tensor:
        logits = self.logits.detach()
        if self.rank is None or self.rank == self.dim:
            return logits.new_zeros(())
        return logits.sort(descending=True).values[self.rank - 1 : self.rank + 1].mean()

    def extra_repr(self) -> str:
        chosen = "the first" if not self.learned else "positive logits" if self.rank is None else "the largest logits"
        return f"{self.dim}, {chosen}{'' if self.rank is None else f', rank={self.rank}'}"
