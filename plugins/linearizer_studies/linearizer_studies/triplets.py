"""Singular triplets in an order that means something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators import DENSE_LIMIT, LinearOperator, LowRank

_EQUAL = 1e-6


@final
@dataclass(frozen=True)
class Triplets:
    r""":math:`A = U \mathrm{diag}(s) V^T` without what is zero: ``left`` ``(m, k)``, ``values`` ``(k,)`` descending, ``right`` ``(n, k)``, in float64.

    Where singular values are equal, as in a projector, their vectors are arbitrary in the space that they span. There they are the principal axes of given
    latents, most energy first, so that the first k triplets are those that matter for these latents. Not centred: a linear map has no offset.
    """

    left: Tensor
    values: Tensor
    right: Tensor

    def truncated(self, rank: int, dtype: torch.dtype) -> LowRank:
        """The operator of the first ``rank`` triplets."""
        return LowRank((self.left[:, :rank] * self.values[:rank]).to(dtype), self.right[:, :rank].to(dtype))


def triplets(operator: LinearOperator, latents: Tensor, *, of_outputs: bool, rtol: float = 1e-6) -> Triplets:
    """The triplets above ``rtol`` times the largest singular value.

    A multiple of the identity beside a low-rank part is written out up to `DENSE_LIMIT` dimensions, and left out above.

    Arguments:
        operator: A.
        latents: ``(N, m)`` of outputs or ``(N, n)`` of inputs.
        of_outputs: which of the two.
        rtol: below it a singular value counts as zero.

    Example:
        >>> from linearizer_core.operators import Mask
        >>> found = triplets(Mask(torch.tensor([True, True, False])), torch.tensor([[0.0, 3.0, 9.0], [1.0, -3.0, 9.0]]), of_outputs=False)
        >>> found.right.abs().argmax(0).tolist()  # the second coordinate is larger than the first
        [1, 0]
    """
    found = operator.to(torch.float64).svd()
    left, values, right = found.left, found.values, found.right
    if found.tail and found.tail_multiplicity and len(right) <= DENSE_LIMIT:
        rest = torch.linalg.qr(right, mode="complete")[0][:, right.shape[1] :]
        left, right = torch.cat([left, rest if found.tail > 0 else -rest], 1), torch.cat([right, rest], 1)
        values = torch.cat([values, values.new_full((rest.shape[1],), abs(found.tail))])
    order = values.argsort(descending=True)
    order = order[values[order] > rtol * found.largest]
    left, values, right = left[:, order], values[order], right[:, order]
    wide = latents.double()
    start = 0
    while start < len(values):
        stop = start + int((values[start:] >= values[start] * (1 - _EQUAL)).sum())
        if stop - start > 1:
            coordinates = wide @ (left if of_outputs else right)[:, start:stop]
            axes = torch.linalg.eigh(coordinates.mT @ coordinates).eigenvectors.flip(1)
            left[:, start:stop], right[:, start:stop] = left[:, start:stop] @ axes, right[:, start:stop] @ axes
        start = stop
    return Triplets(left, values, right)
