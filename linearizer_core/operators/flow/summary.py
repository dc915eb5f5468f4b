"""What a collapsed flow does, in a few numbers: for reports and cards."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Self, final

import torch

from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.diagonal import Diagonal
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.low_rank import LowRank
from linearizer_core.operators.mask import Mask
from linearizer_core.operators.rotated_diagonal import RotatedDiagonal
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.shared_subspace import SharedSubspace


@final
@dataclass(frozen=True)
class FlowSummary:
    r"""An operator :math:`B` from noise to data, in numbers.

    A flow that ends in a subspace leaves :math:`B z = c z` for the m dimensions of z that it does not see: what passes there is noise. For standard normal
    noise its share of the root mean square of the latent is :math:`\sqrt{m}\, |c| / \|B\|_F`. On coordinates (`Diagonal`, `Mask`) c is their smallest absolute
    value, if several have it and others are larger. Operators that do not tell, such as `Dense`, have None for all three.

    Arguments:
        dim: D.
        rank: singular values above ``rtol`` times the largest.
        rtol: that tolerance.
        norm: the largest singular value.
        cond: largest over smallest singular value; infinite where the rank is not full.
        invertible: whether the rank is full to the precision of the dtype.
        scale: :math:`|c|`; 0 where m is 0.
        complement: m, 0 where B has no such part.
        residual_noise: the share of the latent that stays noise, from 0 to 1.
        singular_values: the largest ones, descending.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import IdentityPlusLowRank
        >>> from linearizer_core.operators.flow import FlowSummary
        >>> u = torch.eye(100, 1)
        >>> found = FlowSummary.of(IdentityPlusLowRank(0.01, 0.99 * u, u))
        >>> found.rank, round(found.cond), found.complement, round(found.residual_noise, 3)
        (100, 100, 99, 0.099)
    """

    dim: int
    rank: int
    rtol: float
    norm: float
    cond: float
    invertible: bool
    scale: float | None
    complement: int | None
    residual_noise: float | None
    singular_values: tuple[float, ...]

    @classmethod
    def of(cls, operator: LinearOperator, *, rtol: float = 1e-6, leading: int = 64) -> Self:
        """The summary of an operator, with its ``leading`` largest singular values and the rank at ``rtol``."""
        values, multiplicities = operator._singular_values()
        norm, smallest = values.max().item(), values.min().item()
        invertible = smallest > operator._precision * norm
        complement = _complement(operator)
        frobenius = math.sqrt((multiplicities * values**2).sum().item())
        descending = values.argsort(descending=True)[:leading]
        return cls(
            dim=min(operator.shape),
            rank=int(multiplicities[values > rtol * norm].sum()),
            rtol=rtol,
            norm=norm,
            cond=norm / smallest if invertible else math.inf,
            invertible=invertible,
            scale=complement and complement[0],
            complement=complement and complement[1],
            residual_noise=complement and (math.sqrt(complement[1]) * complement[0] / frobenius if frobenius else 0.0),
            singular_values=tuple(values[descending].repeat_interleave(multiplicities[descending].clamp(max=leading))[:leading].tolist()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which has no infinity: ``cond`` is None where it is infinite."""
        return asdict(self) | {"cond": self.cond if self.invertible else None, "singular_values": list(self.singular_values)}


def _complement(operator: LinearOperator) -> tuple[float, int] | None:
    """The absolute value of the c, and for how many dimensions ``B z = c z``; None where the kind of the operator does not tell."""
    if isinstance(operator, ScaledIdentity):
        return abs(operator.scale.item()), operator.dim
    if isinstance(operator, LowRank):
        return 0.0, max(0, min(operator.shape) - operator.columns)
    if isinstance(operator, IdentityPlusLowRank | SharedSubspace):
        complement = operator.shape[0] - operator.right.shape[1]
        return (abs(operator.scale.item()), complement) if complement > 0 else (0.0, 0)
    if isinstance(operator, Diagonal | Mask | RotatedDiagonal):
        values, counts = torch.unique(operator._singular_values()[0], return_counts=True)
        common = len(values) > 1 and (int(counts[0]) > 1 or values[0].item() == 0)
        return (values[0].item(), int(counts[0])) if common else (0.0, 0)
    return None
