"""Tall matrices by blocks of rows: what is computed of them is small, and no copy of them in another dtype is made."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK_ELEMENTS = 2**23
"""Elements of one block of rows (67 MB in float64)."""


def inner_products(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """``left.mT @ right`` of ``(D, k)`` and ``(D, m)``, computed in ``dtype``: ``(k, m)``. Differentiable."""
    if left.dtype == right.dtype == dtype:
        return left.mT @ right
    total = torch.zeros(left.shape[1], right.shape[1], dtype=dtype, device=left.device)
    rows = _block_rows(left.shape[1] + right.shape[1])
    for first, second in zip(torch.split(left, rows), torch.split(right, rows), strict=True):
        total = total + first.to(dtype).mT @ second.to(dtype)
    return total


def triangular_factor(parts: Sequence[Tensor], dtype: torch.dtype) -> Tensor:
    r"""R of the QR factorisation of the ``parts`` ``(D, k_i)`` side by side, in ``dtype``: ``(min(D, k), k)`` with k the sum of all :math:`k_i`.

    Each block of rows is stacked under the R of those before it, which is as stable as one factorisation of the whole
    (Demmel, Grigori, Hoemmen, Langou, arXiv 0808.2664).
    """
    found: Tensor | None = None
    rows = _block_rows(sum(part.shape[1] for part in parts))
    for blocks in zip(*(torch.split(part, rows) for part in parts), strict=True):
        # By columns, as the factorisation wants them: else it would transpose them once more.
        columns = torch.cat([block.mT.to(dtype) for block in blocks])
        stacked = columns if found is None else torch.cat([found.mT, columns], dim=1)
        found = torch.linalg.qr(stacked.mT, mode="r").R
    assert found is not None
    return found


def _block_rows(columns: int) -> int:
    """As many rows as fit into a block, and no fewer than there are columns."""
    return max(BLOCK_ELEMENTS // max(1, columns), columns, 1)
