"""Options of the backbone ``glow``. Torch-free."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from linearizer_core.backbone_options import LARGEST_LOG_SCALE, NormName, check_norm_bound
from linearizer_core.config import NormalizeConfig
from linearizer_core.errors import ConfigError


class GlowConfig(BaseModel):
    """Options of the backbone ``glow``. The defaults make a model for any shape of at least two numbers.

    The number of couplings is ``steps`` times the number of levels, which is one where nothing is squeezed.

    Example:
        >>> GlowConfig(levels=2, steps=8).norm
        'actnorm'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int | None = Field(None, ge=0, description="squeezes; by default until a side is at most 8 or odd. 0: one level, not squeezed")
    steps: int = Field(4, ge=1, description="steps at each level: a normalisation, a mixing and a coupling each")
    squeeze: Literal["pixel", "haar"] = Field("pixel", description="the pixels as they are, or orthonormal averages and differences")
    split: bool = Field(True, description="half of the channels leave at the end of each level but the last")
    coupling: Literal["affine", "additive"] = Field("affine", description="additive couplings invert more accurately and keep volume")
    log_scale_budget: float = Field(
        2.0, gt=0, le=LARGEST_LOG_SCALE, description="sum of the bounds a in log_s = a tanh(h / a) of all affine couplings, equal for each"
    )
    log_scale_bound: float | None = Field(
        None, gt=0, le=LARGEST_LOG_SCALE, description="the bound a of every affine coupling, in place of its share of the budget"
    )
    width: int = Field(64, ge=1, description="hidden channels (vectors: hidden size) of the conditioners")
    depth: int = Field(1, ge=0, description="residual blocks of the conditioners")
    lipschitz: float | None = Field(None, gt=0, description="bound on the Lipschitz constant of every conditioner; none for no bound")
    mixing: Literal["cayley", "plu", "fixed"] | None = Field(
        None, description="learned orthogonal; learned by triangular factors; random orthogonal. If not given: cayley up to 2,048 channels, else fixed"
    )
    norm: NormName = Field("actnorm", description="learned scale and shift, the same set from the first batch, or none")
    norm_log_scale_bound: float | None = Field(None, gt=0, description="bound on every log-scale of norm = affine; none for no bound")
    final_mixing: bool = Field(True, description="mix all coordinates of the coarsest level at the end; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of pixels, as the first brick")
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
    def _norm_can_be_bounded(self) -> Self:
        check_norm_bound(self.norm, self.norm_log_scale_bound)
        return self
