"""The table of operator kinds that can be stored: nothing is imported because a file names it."""

from __future__ import annotations

from linearizer_core.errors import ArtifactError
from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.convolution import Convolution
from linearizer_core.operators.decay_rotation import DecayRotation
from linearizer_core.operators.dense import Dense
from linearizer_core.operators.diagonal import Diagonal
from linearizer_core.operators.identity_plus_low_rank import IdentityPlusLowRank
from linearizer_core.operators.lazy import Product, Sum
from linearizer_core.operators.low_rank import LowRank
from linearizer_core.operators.mask import Mask
from linearizer_core.operators.rotated_diagonal import RotatedDiagonal
from linearizer_core.operators.scaled_identity import ScaledIdentity
from linearizer_core.operators.shared_subspace import SharedSubspace

KINDS: dict[str, type[LinearOperator]] = {
    cls.kind: cls
    for cls in (Convolution, DecayRotation, Dense, Diagonal, IdentityPlusLowRank, LowRank, Mask, Product, RotatedDiagonal, ScaledIdentity, SharedSubspace, Sum)
}


def kind_named(name: str) -> type[LinearOperator]:
    """The class of a stored kind.

    Raises:
        ArtifactError: for a name that is not in the table.
    """
    if name not in KINDS:
        raise ArtifactError(f"operator of unknown kind {name!r}, expected one of: {', '.join(sorted(KINDS))}; a newer version of linearizer may know it")
    return KINDS[name]
