"""Core operators: projectors, generators of flows, and linear end-point predictors that depend on time."""

from linearizer_operators.config import GaussianConfig, GeneratorConfig, LowRankConfig, ProjectorConfig, SharedSubspaceConfig

__all__ = ["GaussianConfig", "GeneratorConfig", "LowRankConfig", "ProjectorConfig", "SharedSubspaceConfig"]
