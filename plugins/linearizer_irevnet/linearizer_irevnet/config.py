"""Options of the backbone ``irevnet``. Torch-free."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.config import NormalizeConfig


class IRevNetConfig(BaseModel):
    """Options of the backbone ``irevnet``.

    The number of couplings is ``blocks`` times the number of levels, which is one where nothing is squeezed.

    Example:
        >>> IRevNetConfig(levels=2, blocks=8).padding
        0
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    levels: int | None = Field(None, ge=0, description="downsamplings; by default until a side is at most 8 or odd. 0: one level, not downsampled")
    blocks: int = Field(4, ge=1, description="bottleneck couplings at each level")
    width: int = Field(64, ge=1, description="hidden channels of the bottlenecks")
    lipschitz: float | None = Field(None, gt=0, description="bound on the Lipschitz constant of every bottleneck; none for no bound")
    group_norm: bool = Field(False, description="normalise each example within the bottlenecks; of large gain on nearly constant images")
    padding: int = Field(0, ge=0, description="zero channels added ahead of the first block; above 0 the map is injective only and induces no space")
    final_mixing: bool = Field(True, description="end with a fixed orthogonal mixing of the flat latent; of no use where a Gaussian follows")
    normalize: NormalizeConfig | None = Field(None, description="normalisation of pixels, as the first brick")
    seed: int = Field(0, ge=0, description="draws the final mixing; weights are drawn by torch's own generator")
