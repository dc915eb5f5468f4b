"""Options of the backbone ``lattice``, and what they become for a given shape. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.backbone_options import default_dense, default_levels, squeeze_levels


class LevelConfig(BaseModel):
    """One resolution of an image: a pixel squeeze, then convolutional couplings on what it gives.

    Example:
        >>> LevelConfig(couplings=4, width=64).depth
        1
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    couplings: int = Field(4, ge=0, description="number of couplings; each pair follows a permutation of the channels")
    width: int = Field(64, ge=1, description="hidden channels of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners")
    token_mixing: bool = Field(False, description="let every position see every other; (height * width) ** 2 parameters a coupling")


class DenseConfig(BaseModel):
    """Couplings on the flat latent.

    Example:
        >>> DenseConfig(couplings=4).width
        512
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    couplings: int = Field(8, ge=0, description="number of couplings; each pair follows a permutation of the coordinates")
    width: int = Field(512, ge=1, description="hidden size of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners")


class ExactConfig(BaseModel):
    """Grids of conditioners in exact arithmetic, ``arithmetic = "exact"``.

    Example:
        >>> ExactConfig(weight_bits=7, activation_bits=7, accumulation="float32").activation_bound
        4.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight_bits: int = Field(12, ge=2, le=20, description="bits of a weight, next to its sign; at most 8 with float32 sums")
    activation_bits: int = Field(12, ge=2, le=20, description="bits of an activation, next to its sign; at most 8 with float32 sums")
    activation_bound: float = Field(4.0, gt=0, description="activations are clamped to its size; a power of two")
    accumulation: Literal["float64", "float32"] = Field("float64", description="what sums are kept in: they must fit 53 bits, or 24")


class LatticeConfig(BaseModel):
    """Options of the backbone ``lattice``. The defaults make a sensible model for any shape.

    Example:
        >>> LatticeConfig().input_for((1, 28, 28)), LatticeConfig().input_for((2,))
        ('pixels', 'grid')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: int = Field(14, ge=4, le=40, description="the step of the lattice is 2 ** -bits")
    precision: Literal["float32", "float64"] = Field(
        "float32", description="the least precise stream that must hold the lattice; float64 takes no float32 data"
    )
    input: Literal["pixels", "grid"] | None = Field(
        None, description="8-bit pixels k / 255, or numbers on a grid of step 2 ** -bits / scale; pixels for images, grid for all else, if not given"
    )
    scale: float = Field(1.0, gt=0, description="a power of two: pixels become [-scale, scale), grid data are multiplied by it")
    off_grid: Literal["snap", "error"] = Field("snap", description="round data and latents that lie between lattice points, or refuse them")
    shift_bound: float = Field(2.0, gt=0, description="largest shift of a coupling; a multiple of the step")
    arithmetic: Literal["float", "bfloat16", "exact"] = Field(
        "float", description="conditioners as autocast has them, always in bfloat16, or in exact arithmetic: the same bits for any batch and device"
    )
    exact: ExactConfig = Field(ExactConfig(), description="grids of exact arithmetic")
    levels: tuple[LevelConfig, ...] | None = Field(None, description="resolutions of an image, finest first; chosen by shape if not given")
    dense: DenseConfig | None = Field(None, description="couplings on the flat latent; chosen by shape if not given")
    seed: int = Field(0, ge=0, description="draws the permutations; weights are drawn by torch's own generator")

    def input_for(self, in_shape: tuple[int, ...]) -> Literal["pixels", "grid"]:
        """What the data are taken for."""
        return self.input or ("pixels" if len(in_shape) == 3 else "grid")

    def levels_for(self, in_shape: tuple[int, ...]) -> tuple[LevelConfig, ...]:
        """The levels for a shape: those given, else halvings until a side is at most 8 or odd.

        Raises:
            ConfigError: when the shape cannot be halved as often as there are levels.
        """
        if self.levels is None:
            return tuple(LevelConfig(**sizes) for sizes in default_levels(in_shape))
        squeeze_levels(in_shape, len(self.levels))  # refuses more than the shape allows
        return self.levels

    def dense_for(self, in_shape: tuple[int, ...]) -> DenseConfig:
        """The dense couplings for a shape: those given, else eight up to 4,096 dimensions and none above, where they would outweigh all else."""
        return DenseConfig(**default_dense(in_shape)) if self.dense is None else self.dense
