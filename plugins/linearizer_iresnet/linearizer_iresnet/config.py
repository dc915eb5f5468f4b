"""Options of the backbone ``iresnet``. Torch-free."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from linearizer_core.config import NormalizeConfig


class IResNetConfig(BaseModel):
    """Options of the backbone ``iresnet``. The defaults make a model for any shape.

    Example:
        >>> IResNetConfig().contraction_of(8)
        0.9
        >>> round(IResNetConfig(gain_budget=256.0).contraction_of(8), 3)
        0.5
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int | None = Field(None, ge=0, description="squeezes; by default until a side is at most 8 or odd. 0: one level, not squeezed")
    blocks: int = Field(4, ge=1, description="residual blocks at each level; vectors have one level")
    squeeze: Literal["haar", "pixel"] = Field("haar", description="orthonormal averages and differences, or the pixels as they are")
    width: int = Field(64, ge=1, description="hidden channels (vectors: hidden size) of the residuals")
    activation: Literal["maxmin", "elu"] = Field("maxmin", description="maxmin keeps norms and bends more; elu is smooth, for likelihoods")
    depth: int = Field(1, ge=0, description="inner layers of the residuals, beside the first and the last")
    contraction: float = Field(0.9, gt=0, lt=1, description="c, the Lipschitz bound of every residual; smaller inverts faster and bends less")
    gain_budget: float | None = Field(None, gt=1, description="bound on the gain of the whole network, both ways; sets contraction from the number of blocks")
    tolerance: float | None = Field(None, gt=0, lt=1, description="relative error of the inverse of a block; by default 1e-6, in float64 1e-12")
    max_iterations: int = Field(1000, ge=1, description="of the inverse of a block, and of a gradient through it")
    final_mixing: bool = Field(True, description="end with a fixed orthogonal mixing of the flat latent; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of pixels, as the first brick")
    seed: int = Field(0, ge=0, description="draws the final mixing; weights are drawn by torch's own generator")

    @model_validator(mode="after")
    def _pairs(self) -> IResNetConfig:
        if self.activation == "maxmin" and self.width % 2:
            raise ValueError(f"activation = maxmin pairs the hidden channels, but width = {self.width} is odd; give an even width, or activation = elu")
        return self

    @model_validator(mode="after")
    def _one_of_two(self) -> IResNetConfig:
        if self.gain_budget is not None and "contraction" in self.model_fields_set:
            raise ValueError(f"gain_budget = {self.gain_budget} sets the contraction, but contraction = {self.contraction} is given too; give one of them")
        return self

    def contraction_of(self, blocks: int) -> float:
        """c of each of ``blocks`` residuals: the inverse has the larger gain, at most ``(1 - c) ** -blocks``."""
        return self.contraction if self.gain_budget is None else float(1 - self.gain_budget ** (-1 / blocks))
