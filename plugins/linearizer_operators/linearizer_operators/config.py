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


Spectrum = Literal["free", "stable", "conservative"]
"""What is known of the eigenvalues of a generator: nothing, real parts of at most 0, real parts of 0."""


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


class GeneratorConfig(BaseModel):
    """Options of the core ``generator``.

    Example:
        >>> GeneratorConfig().structure
        'decay_rotation'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    structure: Literal["decay_rotation", "diagonal", "low_rank", "dense"] = Field(
        "decay_rotation",
        description="blocks that rotate and decay, real rates alone, or matrices: of low rank, or full. Blocks and rates have exponentials in closed form",
    )
    spectrum: Spectrum = Field(
        "free", description="free; stable: no eigenvalue has a positive real part; conservative: all are imaginary, and latents keep their length"
    )
    frequency: float = Field(1.0, gt=0, description="angular frequencies at the start are spread evenly up to this one; the scale of matrices")
    harmonics: int | None = Field(
        None,
        ge=0,
        description="decay_rotation: pairs start at 0, 1, ... up to so many times the frequency, in turn, as periodic motion needs; none: spread evenly",
    )
    decay: float = Field(1.0, gt=0, description="rates of decay at the start are spread over two decades up to this one; pairs start at a hundredth of it")
    real: int | None = Field(
        None, ge=0, description="decay_rotation: coordinates that decay without rotating, one more where pairs would not fit; none: D mod 2"
    )
    rank: int = Field(4, ge=1, description="low_rank: k, the dimension of what moves")
    frequency_network: int | None = Field(
        None, ge=1, description="conservative decay_rotation: hidden units of a network by which frequencies depend on the radii of the pairs; none: constant"
    )
    controls: int = Field(0, ge=0, description="m, the control inputs of the data")

    @model_validator(mode="after")
    def _frequencies_depend_on_invariants(self) -> Self:
        if self.frequency_network is not None and (self.structure, self.spectrum) != ("decay_rotation", "conservative"):
            raise ConfigError(
                f"frequency_network = {self.frequency_network} with structure = {self.structure!r}, spectrum = {self.spectrum!r}; only radii that stay "
                "constant may choose frequencies, or there is no flow: set structure = 'decay_rotation' and spectrum = 'conservative'"
            )
        if self.frequency_network is not None and self.controls:
            raise ConfigError(
                f"controls = {self.controls} with a frequency_network: inputs change the radii, which then are no invariants; leave one of them out"
            )
        return self
