"""Core operators: projectors, and linear end-point predictors that depend on time."""

from linearizer_operators.config import GaussianConfig, LowRankConfig, ProjectorConfig, SharedSubspaceConfig

__all__ = ["GaussianConfig", "LowRankConfig", "ProjectorConfig", "SharedSubspaceConfig"]
