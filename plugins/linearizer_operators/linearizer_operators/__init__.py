"""Core operators: projectors, convolutions, generators of flows, and linear end-point predictors that depend on time."""

from linearizer_operators.config import (
    ConvolutionConfig,
    GaussianConfig,
    GeneratorConfig,
    IdentityPlusLowRankConfig,
    LowRankConfig,
    ProjectorConfig,
    SharedSubspaceConfig,
)

__all__ = ["ConvolutionConfig", "GaussianConfig", "GeneratorConfig", "IdentityPlusLowRankConfig", "LowRankConfig", "ProjectorConfig", "SharedSubspaceConfig"]
