"""Cores for pictures of any size."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Self

from linearizer_core.bijections import Bijection, Chain, Flatten
from linearizer_core.cores.base import CoreOperator
from linearizer_core.errors import ConfigError

LatentShape = tuple[int, int, int]
"""Channels, height and width of a latent."""


class SpatialCore(CoreOperator):
    """A core whose parameters belong to channels and offsets, not to places, so that they give an operator on latents (C, H, W) of any height and width.

    Note to implementers. Implement `on`; the view it returns has ``shape`` (C H W, C H W).

    Example:
        >>> from linearizer_core import create_core
        >>> core = create_core("convolution", (48, 48), channels=12)
        >>> core.on((12, 5, 7)).operator().shape
        (420, 420)
    """

    @abstractmethod
    def on(self, latent: LatentShape) -> Self:
        """This core for latents of the shape ``latent``. Parameters are shared, not copied.

        Raises:
            ConfigError: for another number of channels than the parameters have.
        """


def latent_shape(bijection: Bijection) -> LatentShape:
    """Channels, height and width of the latent of a bijection that keeps places apart: its ``out_shape``, or what a chain flattens at its end.

    Raises:
        ConfigError: for a bijection that mixes places or flattens before its end.

    Example:
        >>> from linearizer_core import create_backbone
        >>> g = create_backbone("coupling", (3, 8, 8), levels=[{"couplings": 2}], dense={"couplings": 0}, norm="none", final_mixing=False)
        >>> latent_shape(g)
        (12, 4, 4)
    """
    last = bijection[len(bijection) - 1] if isinstance(bijection, Chain) else bijection
    shape = last.in_shape if isinstance(last, Flatten) else last.out_shape
    if len(shape) != 3:
        raise ConfigError(
            f"the latent of {type(bijection).__name__} has shape {last.out_shape}: places are mixed at its end, expected an image (C, H, W), flattened or not; "
            "for backbone.name = 'coupling' give dense = { couplings = 0 } and final_mixing = false"
        )
    channels, height, width = shape
    return channels, height, width


def nearest_grid(places: int) -> tuple[int, int]:
    """Height and width of the grid of so many places that is nearest to a square.

    Example:
        >>> nearest_grid(64), nearest_grid(12), nearest_grid(7)
        ((8, 8), (3, 4), (1, 7))
    """
    height = next(side for side in range(math.isqrt(places), 0, -1) if places % side == 0)
    return height, places // height
