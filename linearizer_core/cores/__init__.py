"""Core operators: learnable parameters in, a linear operator between latents out."""

from linearizer_core.cores.base import CoreOperator, FlowPlan, TimeDependentCore
from linearizer_core.cores.generator import GeneratorCore
from linearizer_core.cores.guided import GuidedCore
from linearizer_core.cores.spatial import LatentShape, SpatialCore, latent_shape, nearest_grid

__all__ = ["CoreOperator", "FlowPlan", "GeneratorCore", "GuidedCore", "LatentShape", "SpatialCore", "TimeDependentCore", "latent_shape", "nearest_grid"]
