"""Invertible networks and the bricks they are made of. Forward is always data to linear space.

The contract
    `Bijection`, `TractableBijection`, `full_precision`
Putting together
    `Chain`, `DirectSum`, `Identity`, `Inverse`
Learned bricks
    `AffineCoupling`, `AdditiveCoupling` (with `coupling_sizes`), `ElementwiseAffine`, `ActNorm`, `CayleyMixing`
Conditioners for couplings
    `MLPConditioner`, `ConvConditioner`, `ConditionEmbedding`
Fixed bricks
    `FixedAffine`, `FixedOrthogonal`, `Permutation`, `HaarSqueeze`, `PixelSqueeze`, `Flatten`, `Whiten`
"""

from linearizer_core.bijections.affine import ElementwiseAffine, FixedAffine
from linearizer_core.bijections.base import Bijection, InverseGrad, InverseKind, Shape, TractableBijection, full_precision
from linearizer_core.bijections.chain import Chain
from linearizer_core.bijections.conditioners import ConditionEmbedding, ConvConditioner, MLPConditioner
from linearizer_core.bijections.coupling import AdditiveCoupling, AffineCoupling, coupling_sizes
from linearizer_core.bijections.direct_sum import DirectSum
from linearizer_core.bijections.float64 import Float64Constants
from linearizer_core.bijections.identity import Identity
from linearizer_core.bijections.inverse import Inverse
from linearizer_core.bijections.mixing import CayleyMixing, FixedOrthogonal
from linearizer_core.bijections.norm import ActNorm
from linearizer_core.bijections.permutation import Permutation
from linearizer_core.bijections.reshape import Flatten
from linearizer_core.bijections.squeeze import HaarSqueeze, PixelSqueeze, squeezed_shape
from linearizer_core.bijections.whiten import Whiten

__all__ = [
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Bijection",
    "CayleyMixing",
    "Chain",
    "ConditionEmbedding",
    "ConvConditioner",
    "DirectSum",
    "ElementwiseAffine",
    "FixedAffine",
    "FixedOrthogonal",
    "Flatten",
    "Float64Constants",
    "HaarSqueeze",
    "Identity",
    "Inverse",
    "InverseGrad",
    "InverseKind",
    "MLPConditioner",
    "Permutation",
    "PixelSqueeze",
    "Shape",
    "TractableBijection",
    "Whiten",
    "coupling_sizes",
    "full_precision",
    "squeezed_shape",
]
