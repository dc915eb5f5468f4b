"""Options of the cores. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class GaussianConfig(BaseModel):
    """Options of the core ``gaussian``.

    Example:
        >>> GaussianConfig(rank=32).basis
        'leading'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(32, ge=1, description="coordinates with a variance of their own")
    basis: Literal["leading", "principal"] = Field(
        "leading", description="the first coordinates with variance 1 and nothing else, for whitened latents; or directions fitted to latents"
    )


class SharedSubspaceConfig(BaseModel):
    """Options of the core ``shared_subspace``.

    Example:
        >>> SharedSubspaceConfig(rank=16).width
        128
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(32, ge=1, description="R, the dimension of the subspace on which the core acts")
    width: int = Field(128, ge=1, description="hidden units of the network of t")
    frequencies: int = Field(8, ge=1, description="sine and cosine features of t")


class LowRankConfig(BaseModel):
    """Options of the core ``low_rank``.

    Example:
        >>> LowRankConfig(rank=8).frequencies
        8
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1, description="rank of A_t at each time")
    width: int = Field(256, ge=1, description="hidden units of the network of t; its last layer has 2 * D * rank * width weights")
    frequencies: int = Field(8, ge=1, description="sine and cosine features of t")


class ProjectorConfig(BaseModel):
    """Options of the core ``projector``.

    Example:
        >>> ProjectorConfig().rank is None
        True
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int | None = Field(None, ge=1, description="keep the first coordinates; None learns which ones are kept")
    logit_mean: float = Field(-2.0, description="learned masks: mean of the logits at the start; below 0 most coordinates start dropped")
    logit_std: float = Field(1.0, ge=0, description="learned masks: standard deviation of the logits at the start")
