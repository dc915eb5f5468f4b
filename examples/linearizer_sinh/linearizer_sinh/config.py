"""The options of this plugin. Imports no torch."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SinhConfig(BaseModel):
    """Options of the `sinh` backbone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(4, ge=1, description="number of layers: affine, curve, rotation")
    tail_bound: float = Field(0.5, gt=0, le=2, description="largest absolute logarithm of the tail weight of one curve")
    seed: int = Field(0, ge=0, description="seed of the rotations at the start")
