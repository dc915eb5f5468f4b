"""Options of the coupling backbone, and what they become for a given shape. Torch-free."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.errors import ConfigError

_LARGEST_DENSE_DIM = 4096
_LARGEST_MIXED_GRID = 64
_SMALLEST_SIDE = 8


class LevelConfig(BaseModel):
    """One resolution of an image: a squeeze, then convolutional couplings on what it gives.

    Example:
        >>> LevelConfig(couplings=4, width=64, token_mixing=True).squeeze
        'haar'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    squeeze: Literal["haar", "pixel"] = Field("haar", description="orthonormal averages and differences, or the pixels as they are")
    couplings: int = Field(4, ge=0, description="number of couplings; each pair shares a normalisation and a mixing")
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

    couplings: int = Field(8, ge=0, description="number of couplings; each pair shares a normalisation and a mixing")
    width: int = Field(512, ge=1, description="hidden size of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners")


class NormalizeConfig(BaseModel):
    """Normalisation of pixels ahead of everything else: ``(x + shift) * scale``, one number or one per channel.

    Example:
        >>> NormalizeConfig(shift=-0.5, scale=2.0).scale
        2.0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shift: float | tuple[float, ...] = Field(0.0, description="added first")
    scale: float | tuple[float, ...] = Field(1.0, description="multiplied next; not zero")


class CouplingConfig(BaseModel):
    """Options of the backbone ``coupling``. The defaults make a sensible model for any shape.

    Example:
        >>> CouplingConfig().levels_for((1, 28, 28))[1].token_mixing
        True
        >>> CouplingConfig().dense_for((2,))
        DenseConfig(couplings=8, width=128, depth=1)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: tuple[LevelConfig, ...] | None = Field(None, description="resolutions of an image, finest first; chosen by shape if not given")
    dense: DenseConfig | None = Field(None, description="couplings on the flat latent; chosen by shape if not given")
    coupling: Literal["affine", "additive"] = Field("affine", description="additive couplings invert more accurately and keep volume")
    log_scale_bound: float = Field(1.0, gt=0, description="a in log_s = a tanh(h / a) of affine couplings")
    mixing: Literal["fixed", "cayley"] = Field("fixed", description="random orthogonal, or learned: O(D^3) a call")
    norm: Literal["affine", "actnorm", "none"] = Field("affine", description="learned scale and shift, the same set from the first batch, or none")
    final_mixing: bool = Field(True, description="end with a mixing of the flat latent; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of pixels, as the first brick")
    class_scale: bool = Field(False, description="scale and shift per category of the condition; takes the place of norm = affine")
    seed: int = Field(0, ge=0, description="draws the mixings; weights are drawn by torch's own generator")

    def levels_for(self, in_shape: tuple[int, ...]) -> tuple[LevelConfig, ...]:
        """The levels for a shape: those given, else halvings until a side is at most 8 or odd.

        Raises:
            ConfigError: when the shape cannot be halved as often as there are levels.
        """
        if len(in_shape) != 3:
            if self.levels:
                raise ConfigError(f"levels: {len(self.levels)} given for shape {in_shape}; only images (C, H, W) can be squeezed; give levels = []")
            return ()
        _, height, width = in_shape
        halvings = _halvings(height, width)
        if self.levels is None:
            return _default_levels(height, width, halvings)
        if len(self.levels) > halvings:
            times = {0: "not at all", 1: "once", 2: "twice"}.get(halvings, f"{halvings} times")
            raise ConfigError(f"levels: {len(self.levels)} given, but {height}x{width} can be halved {times}; give at most {halvings}, or pad the images")
        return self.levels

    def dense_for(self, in_shape: tuple[int, ...]) -> DenseConfig:
        """The dense couplings for a shape: those given, else eight up to 4,096 dimensions and none above, where they would outweigh all else."""
        if self.dense is not None:
            return self.dense
        dim = math.prod(in_shape)
        return DenseConfig(couplings=8 if 1 < dim <= _LARGEST_DENSE_DIM else 0, width=512 if dim >= 128 else 128)


def _halvings(height: int, width: int) -> int:
    common = math.gcd(height, width)
    return (common & -common).bit_length() - 1


def _default_levels(height: int, width: int, halvings: int) -> tuple[LevelConfig, ...]:
    levels: list[LevelConfig] = []
    while len(levels) < halvings and (not levels or min(height, width) > _SMALLEST_SIDE):
        height, width = height // 2, width // 2
        position = len(levels)
        levels.append(
            LevelConfig(
                couplings=2 if position == 0 else 4,
                width=min(32 * 2**position, 128),
                token_mixing=height * width <= _LARGEST_MIXED_GRID and position > 0,
            )
        )
    return tuple(levels)
