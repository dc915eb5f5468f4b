"""Options of the coupling backbone, and what they become for a given shape. Torch-free."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from linearizer_core.backbone_options import LARGEST_LOG_SCALE, NormName, check_norm_bound, default_dense, default_levels, halvings
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import ConfigError


class TimmConfig(BaseModel):
    """Options of conditioners made of timm's blocks, next to width and depth.

    Example:
        >>> TimmConfig(patch=2).block
        'vit'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    block: Literal["vit", "convnext"] = Field("vit", description="attention, which sees the whole image, or 7x7 convolutions")
    heads: int = Field(4, ge=1, description="attention heads of block = vit; they divide the width")
    patch: int = Field(1, ge=1, description="side of the squares of positions that make one token")


class LevelConfig(BaseModel):
    """One resolution of an image: a squeeze, then couplings on what it gives.

    Example:
        >>> LevelConfig(couplings=4, width=64, token_mixing=True).squeeze
        'haar'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    squeeze: Literal["haar", "pixel", "none"] = Field("haar", description="orthonormal averages and differences, the pixels as they are, or no squeeze")
    couplings: int = Field(4, ge=0, description="number of couplings; each pair shares a normalisation and a mixing")
    mask: Literal["halves", "alternating", "checkerboard"] = Field(
        "halves", description="what a coupling keeps: half of the channels, every second channel, or every second position"
    )
    conditioner: Literal["conv", "resnet", "unet", "timm"] = Field(
        "conv", description="3x3 convolutions, pre-activation residual blocks, a U-Net, or timm's blocks (needs linearizer[timm])"
    )
    width: int = Field(64, ge=1, description="hidden channels of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners; halvings of a U-Net")
    token_mixing: bool = Field(False, description="conv only: let every position see every other; (height * width) ** 2 parameters a coupling")
    timm: TimmConfig = Field(TimmConfig(), description="timm only: kind and size of the blocks")


class DenseConfig(BaseModel):
    """Couplings on the flat latent.

    Example:
        >>> DenseConfig(couplings=4).width
        512
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    couplings: int = Field(8, ge=0, description="number of couplings; each pair shares a normalisation and a mixing")
    mask: Literal["halves", "alternating"] = Field("halves", description="what a coupling keeps: half of the coordinates, or every second one")
    width: int = Field(512, ge=1, description="hidden size of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners")


class SplineConfig(BaseModel):
    """Options of spline couplings.

    Example:
        >>> SplineConfig(bins=16).interval
        3.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bins: int = Field(8, ge=2, description="K, the number of bins; a conditioner gives 3 K - 1 numbers for each coordinate")
    interval: float = Field(3.0, gt=0, description="B: the spline acts on [-B, B] and is the identity outside")


class CouplingConfig(BaseModel):
    """Options of the backbone ``coupling``. The defaults make a sensible model for any shape.

    Example:
        >>> CouplingConfig().levels_for((1, 28, 28))[1].token_mixing
        True
        >>> CouplingConfig().dense_for((2,)).width
        128
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: tuple[LevelConfig, ...] | None = Field(None, description="resolutions of an image, finest first; chosen by shape if not given")
    dense: DenseConfig | None = Field(None, description="couplings on the flat latent; chosen by shape if not given")
    coupling: Literal["affine", "additive", "spline"] = Field(
        "affine", description="additive couplings invert more accurately and keep volume; splines bend single coordinates within bounds"
    )
    log_scale_budget: float = Field(
        4.0,
        gt=0,
        le=LARGEST_LOG_SCALE,
        description="sum of the bounds on the log-scales of all affine or spline couplings (a in a tanh(h / a); a spline's log-slopes), equal for each",
    )
    log_scale_bound: float | None = Field(None, gt=0, le=LARGEST_LOG_SCALE, description="the bound of every coupling, in place of its share of the budget")
    shift_bound: float | None = Field(
        None, gt=0, description="bound b on the shifts of affine and additive couplings, b tanh(t / b): nothing moves further, on any input; none for no bound"
    )
    spline: SplineConfig = Field(SplineConfig(), description="options of spline couplings")
    lipschitz: float | None = Field(None, gt=0, description="bound on the Lipschitz constant of every conditioner (dense ones and conv); none for no bound")
    mixing: Literal["fixed", "cayley"] = Field("fixed", description="random orthogonal, or learned: O(D^3) a call")
    norm: NormName = Field("affine", description="learned scale and shift, the same set from the first batch, or none")
    norm_log_scale_bound: float | None = Field(None, gt=0, description="bound on every log-scale of norm = affine and class_scale; none for no bound")
    final_mixing: bool = Field(True, description="end with a mixing of the flat latent; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of pixels, as the first brick")
    class_scale: bool = Field(False, description="scale and shift per category of the condition; takes the place of norm = affine")
    seed: int = Field(0, ge=0, description="draws the mixings; weights are drawn by torch's own generator")

    @model_validator(mode="after")
    def _one_bound_of_couplings(self) -> Self:
        if self.log_scale_bound is not None and "log_scale_budget" in self.model_fields_set:
            raise ConfigError(
                f"log_scale_bound = {self.log_scale_bound} takes the place of the budget, but log_scale_budget = {self.log_scale_budget} is given too; "
                "give one of them"
            )
        return self

    @model_validator(mode="after")
    def _splines_do_not_shift(self) -> Self:
        if self.shift_bound is not None and self.coupling == "spline":
            raise ConfigError(f"shift_bound = {self.shift_bound} with coupling = 'spline', which moves nothing out of its interval; leave the bound out")
        return self

    @model_validator(mode="after")
    def _norm_can_be_bounded(self) -> Self:
        check_norm_bound(self.norm, self.norm_log_scale_bound, class_scale=self.class_scale)
        return self

    def levels_for(self, in_shape: tuple[int, ...]) -> tuple[LevelConfig, ...]:
        """The levels for a shape: those given, else halvings until a side is at most 8 or odd.

        Raises:
            ConfigError: when the shape cannot be halved as often as there are levels.
        """
        if self.levels is None:
            return tuple(LevelConfig(**sizes) for sizes in default_levels(in_shape))
        if self.levels and len(in_shape) != 3:
            raise ConfigError(f"levels: {len(self.levels)} given for shape {in_shape}; only images (C, H, W) can be squeezed; give levels = []")
        squeezes = sum(level.squeeze != "none" for level in self.levels)
        largest = halvings(in_shape)
        if squeezes > largest:
            times = {0: "not at all", 1: "once", 2: "twice"}.get(largest, f"{largest} times")
            fix = f"give at most {largest}, pad the images, or set squeeze = 'none'"
            raise ConfigError(f"levels: {squeezes} given, but {in_shape[1]}x{in_shape[2]} can be halved {times}; {fix}")
        return self.levels

    def dense_for(self, in_shape: tuple[int, ...]) -> DenseConfig:
        """The dense couplings for a shape: those given, else eight up to 4,096 dimensions and none above, where they would outweigh all else."""
        return DenseConfig(**default_dense(in_shape)) if self.dense is None else self.dense

    def coupling_bound(self, in_shape: tuple[int, ...]) -> float:
        """The bound on the log-scales of every affine or spline coupling: the one given, else its share of the budget."""
        couplings = sum(level.couplings for level in self.levels_for(in_shape)) + self.dense_for(in_shape).couplings
        return self.log_scale_bound or self.log_scale_budget / max(couplings, 1)
