"""Linear operators: the contract, its structured kinds, the lazy fallback and storage. Propagators of flows are in `linearizer_core.operators.flow`."""

from linearizer_core.operators.base import DENSE_LIMIT, SVD, LinearOperator
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
from linearizer_core.operators.storage import load_operator, save_operator

__all__ = [
    "DENSE_LIMIT",
    "SVD",
    "Convolution",
    "DecayRotation",
    "Dense",
    "Diagonal",
    "IdentityPlusLowRank",
    "LinearOperator",
    "LowRank",
    "Mask",
    "Product",
    "RotatedDiagonal",
    "ScaledIdentity",
    "SharedSubspace",
    "Sum",
    "load_operator",
    "save_operator",
]
