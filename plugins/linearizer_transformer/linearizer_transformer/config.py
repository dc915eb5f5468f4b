"""Options of the backbone ``transformer``, and what they become for a given shape. Torch-free."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from linearizer_core.backbone_options import LARGEST_LOG_SCALE, NormName, check_norm_bound
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import ConfigError

_PATCHES = (1, 2, 4)
_DEFAULT_TOKENS = 64


class TransformerConfig(BaseModel):
    """Options of the backbone ``transformer``. The defaults make a small model; to scale, raise ``width``, ``heads`` and ``blocks``.

    Example:
        >>> [TransformerConfig().patch_for(shape) for shape in [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (32,)]]
        [(2, 2), (4, 4), (4, 4), (4, 4), (8, 1)]
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    patch: int | None = Field(None, ge=1, description="side of an image's patches; chosen by shape if not given: 1, 2 or 4, for at most 64 tokens")
    tokens: int | None = Field(None, ge=2, description="number of pieces that a vector is cut into; chosen by shape if not given: about its square root")
    couplings: int = Field(16, ge=0, description="number of couplings; each pair shares a mixing")
    width: int = Field(64, ge=1, description="size of a token within the conditioners; a multiple of heads")
    heads: int = Field(4, ge=1, description="attention heads")
    blocks: int = Field(1, ge=0, description="transformer blocks of each conditioner")
    coupling: Literal["affine", "additive"] = Field("affine", description="additive couplings invert more accurately and keep volume")
    log_scale_budget: float = Field(2.0, gt=0, le=LARGEST_LOG_SCALE, description="sum over the affine couplings of a in log_s = a tanh(h / a), shared equally")
    mixing: Literal["fixed", "cayley", "permutation"] = Field("fixed", description="of channels: random orthogonal, learned orthogonal, or random order")
    norm: NormName = Field(
        "affine", description="after the last coupling, a scale and shift of each channel: learned, the same set from the first batch, or none"
    )
    norm_log_scale_bound: float | None = Field(None, gt=0, description="bound on every log-scale of norm = affine and class_scale; none for no bound")
    final_mixing: bool = Field(True, description="end with a mixing of the flat latent; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of the input, as the first brick")
    class_scale: bool = Field(False, description="scale and shift per category of the condition; takes the place of norm = affine")
    seed: int = Field(0, ge=0, description="draws the mixings; weights are drawn by torch's own generator")

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of heads {self.heads}; change one of them")
        return self

    @model_validator(mode="after")
    def _norm_can_be_bounded(self) -> Self:
        check_norm_bound(self.norm, self.norm_log_scale_bound, class_scale=self.class_scale)
        return self

    def patch_for(self, in_shape: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns of a patch of an image ``(C, H, W)``; ``(d, 1)`` for any other shape, whose vector is cut into pieces of d.

        Raises:
            ConfigError: when what is given does not divide the shape, or nothing sensible does.
        """
        if len(in_shape) == 3:
            side = self._side_for(*in_shape)
            return side, side
        return self._length_for(math.prod(in_shape)), 1

    def _side_for(self, channels: int, height: int, width: int) -> int:
        if self.tokens is not None:
            raise ConfigError(f"tokens = {self.tokens} given for an image of {height}x{width}; images are cut by patch, vectors by tokens")
        common = math.gcd(height, width)
        if self.patch is not None:
            if common % self.patch:
                raise ConfigError(f"patch = {self.patch} does not tile {height}x{width}; choose a divisor of {common}, or pad the images")
            sides = [self.patch]
        else:
            sides = [side for side in _PATCHES if common % side == 0]
        sides = [side for side in sides if channels * side**2 > 1]
        if not sides:
            fix = f"give patch = {_smallest_divisor(common)}" if common > 1 else "pad the images to even sizes"
            raise ConfigError(f"{height}x{width} pixels of 1 channel in patches of 1x1: a coupling needs patches of at least 2 numbers; {fix}")
        return next((side for side in sides if height * width // side**2 <= _DEFAULT_TOKENS), sides[-1])

    def _length_for(self, dim: int) -> int:
        if self.patch is not None:
            raise ConfigError(f"patch = {self.patch} given for a vector of {dim}; images are cut by patch, vectors by tokens")
        choices = [count for count in range(2, dim // 2 + 1) if dim % count == 0]
        if not choices:
            raise ConfigError(f"a vector of {dim} cannot be cut into 2 or more tokens of equal size, at least 2; use the backbone coupling, or pad it")
        if self.tokens is not None and self.tokens not in choices:
            raise ConfigError(f"tokens = {self.tokens} given for a vector of {dim}; choose one of {', '.join(map(str, choices))}")
        return dim // (self.tokens or max((count for count in choices if count**2 <= dim), default=choices[0]))


def _smallest_divisor(number: int) -> int:
    return next(divisor for divisor in range(2, number + 1) if number % divisor == 0)
