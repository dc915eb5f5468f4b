"""Core operators: projectors, convolutions, and linear end-point predictors that depend on time."""

from linearizer_operators.config import ConvolutionConfig, GaussianConfig, IdentityPlusLowRankConfig, LowRankConfig, ProjectorConfig, SharedSubspaceConfig

__all__ = ["ConvolutionConfig", "GaussianConfig", "IdentityPlusLowRankConfig", "LowRankConfig", "ProjectorConfig", "SharedSubspaceConfig"]
