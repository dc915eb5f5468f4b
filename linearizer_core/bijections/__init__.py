"""Invertible networks and the bricks they are made of. Forward is always data to linear space.

The contract
    `Bijection`, `TractableBijection`, `VolumePreserving`, `full_precision`
Putting together
    `Chain`, `SplitMerge`, `Identity`, `Inverse`
Learned bricks
    `AffineCoupling`, `AdditiveCoupling`, `SplineCoupling` (with `Coupling` for your own, `coupling_sizes`, `MaskName`,
    `rational_quadratic_spline`), `ElementwiseAffine`, `ActNorm`, `CayleyMixing`, `PLUMixing`
Conditioners for couplings
    `MLPConditioner`, `ConvConditioner`, `ResNetConditioner`, `UNetConditioner`, `TimmConditioner`, `ConditionEmbedding`
Running in little time
    `remembered`, `constant_weights`, `set_compiled`
Training in little memory
    `Reversible`, `set_reversible`, and `Replay`, `GradientSums` for bricks that help
Residual blocks with an iterative inverse
    `ContractiveResidual`, with `inverse_with_report` and `FixedPointReport`
Layers of bounded norm
    `LipschitzLinear`, `LipschitzConv2d`, `OperatorNorm`, `SILU_LIPSCHITZ`
Fixed bricks
    `FixedAffine`, `FixedOrthogonal`, `Permutation`, `HaarSqueeze`, `PixelSqueeze`, `PatchSqueeze`, `Flatten`, `Whiten`;
    `Float64Constants` for your own
Not onto
    `ZeroPadding`
For backbones
    `squeeze_levels`, `squeezed_shape`, `norm_layers`, `mixing_seeds`, `CAYLEY_LIMIT`, `adopt_weakest`
"""

from linearizer_core.backbone_options import squeeze_levels
from linearizer_core.bijections.affine.actnorm import ActNorm
from linearizer_core.bijections.affine.elementwise import ElementwiseAffine, FixedAffine
from linearizer_core.bijections.affine.float64 import Float64Constants
from linearizer_core.bijections.affine.norms import norm_layers
from linearizer_core.bijections.affine.orthogonal import CAYLEY_LIMIT, CayleyMixing, FixedOrthogonal
from linearizer_core.bijections.affine.permutation import Permutation
from linearizer_core.bijections.affine.plu import PLUMixing
from linearizer_core.bijections.affine.seeds import mixing_seeds
from linearizer_core.bijections.affine.whiten import Whiten
from linearizer_core.bijections.base import Bijection, InverseGrad, InverseKind, Shape, TractableBijection, VolumePreserving, full_precision
from linearizer_core.bijections.capabilities import adopt_weakest
from linearizer_core.bijections.chain import Chain
from linearizer_core.bijections.compiled import set_compiled
from linearizer_core.bijections.conditioners import (
    ConditionEmbedding,
    ConvConditioner,
    MLPConditioner,
    ResNetConditioner,
    TimmConditioner,
    UNetConditioner,
)
from linearizer_core.bijections.contractive.fixed_point import FixedPointReport, inverse_with_report
from linearizer_core.bijections.contractive.lipschitz import SILU_LIPSCHITZ, LipschitzConv2d, LipschitzLinear, OperatorNorm
from linearizer_core.bijections.contractive.residual import ContractiveResidual
from linearizer_core.bijections.couplings.coupling import AdditiveCoupling, AffineCoupling, Coupling
from linearizer_core.bijections.couplings.masks import MaskName, coupling_sizes
from linearizer_core.bijections.couplings.spline import rational_quadratic_spline
from linearizer_core.bijections.couplings.spline_coupling import SplineCoupling
from linearizer_core.bijections.identity import Identity
from linearizer_core.bijections.inverse import Inverse
from linearizer_core.bijections.memory.replay import GradientSums, Replay
from linearizer_core.bijections.memory.reversible import Reversible, set_reversible
from linearizer_core.bijections.remembered import constant_weights, remembered
from linearizer_core.bijections.shapes.flatten import Flatten
from linearizer_core.bijections.shapes.padding import ZeroPadding
from linearizer_core.bijections.shapes.patches import PatchSqueeze
from linearizer_core.bijections.shapes.squeeze import HaarSqueeze, PixelSqueeze, squeezed_shape
from linearizer_core.bijections.split_merge import SplitMerge

__all__ = [
    "CAYLEY_LIMIT",
    "SILU_LIPSCHITZ",
    "ActNorm",
    "AdditiveCoupling",
    "AffineCoupling",
    "Bijection",
    "CayleyMixing",
    "Chain",
    "ConditionEmbedding",
    "ContractiveResidual",
    "ConvConditioner",
    "Coupling",
    "ElementwiseAffine",
    "FixedAffine",
    "FixedOrthogonal",
    "FixedPointReport",
    "Flatten",
    "Float64Constants",
    "GradientSums",
    "HaarSqueeze",
    "Identity",
    "Inverse",
    "InverseGrad",
    "InverseKind",
    "LipschitzConv2d",
    "LipschitzLinear",
    "MLPConditioner",
    "MaskName",
    "OperatorNorm",
    "PLUMixing",
    "PatchSqueeze",
    "Permutation",
    "PixelSqueeze",
    "Replay",
    "ResNetConditioner",
    "Reversible",
    "Shape",
    "SplineCoupling",
    "SplitMerge",
    "TimmConditioner",
    "TractableBijection",
    "UNetConditioner",
    "VolumePreserving",
    "Whiten",
    "ZeroPadding",
    "adopt_weakest",
    "constant_weights",
    "coupling_sizes",
    "full_precision",
    "inverse_with_report",
    "mixing_seeds",
    "norm_layers",
    "rational_quadratic_spline",
    "remembered",
    "set_compiled",
    "set_reversible",
    "squeeze_levels",
    "squeezed_shape",
]
