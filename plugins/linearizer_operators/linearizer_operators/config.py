"""Options of the cores. Torch-free."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from linearizer_core.errors import ConfigError


class ConvolutionConfig(BaseModel):
    """Options of the core ``convolution``.

    Example:
        >>> ConvolutionConfig(depthwise=True).kernel
        3
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kernel: int = Field(3, ge=1, le=31, description="side of the kernel in places of the latent; odd")
    depthwise: bool = Field(False, description="each channel by itself, in place of all with all")
    rank: int | None = Field(
        None, ge=1, description="channels between the two factors of the kernel, which then differs from the identity by low rank; all: none"
    )
    channels: int | None = Field(None, ge=1, description="channels of the latent; the fewest that leave a square grid when none")

    @field_validator("kernel")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("should be odd, so that the kernel has a middle")
        return value

    @model_validator(mode="after")
    def _one_structure(self) -> Self:
        if self.depthwise and self.rank is not None:
            raise ConfigError(f"depthwise = true with rank = {self.rank}: a depthwise kernel mixes no channels; leave one of the two out")
        return self


class IdentityPlusLowRankConfig(BaseModel):
    """Options of the core ``identity_plus_low_rank``.

    Example:
        >>> IdentityPlusLowRankConfig().rank
        16
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1, description="rank of what is added to the identity")


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

    Raises:
        ValueError: for a form that needs a rank, without one.

    Example:
        >>> ProjectorConfig().form, ProjectorConfig().rank is None
        ('mask', True)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Literal["mask", "top_k", "rotated", "oblique"] = Field(
        "mask",
        description="mask: onto coordinates, the first ones where rank is given, else those with a positive learned logit; top_k: onto the rank coordinates "
        "with the largest learned logits; rotated: as mask, in a space turned by learned reflections; oblique: onto the first coordinates, along learned "
        "directions",
    )
    rank: int | None = Field(None, ge=1, description="how many coordinates are kept; none learns how many")
    reflections: int = Field(8, ge=1, description="rotated: Householder reflections")
    logit_mean: float = Field(-2.0, description="learned logits: mean at the start; below 0 most coordinates start dropped, where no rank is given")
    logit_std: float = Field(1.0, ge=0, description="learned logits: standard deviation at the start")
    logit_rate: float = Field(10.0, gt=0, description="learned logits: how much faster they move than other parameters, at one learning rate")

    @model_validator(mode="after")
    def _check_rank(self) -> Self:
        if self.rank is None and self.form in ("top_k", "oblique"):
            raise ValueError(f"form = {self.form!r} needs a rank, got none; give core.rank, or use 'mask' or 'rotated' to learn it")
        return self
