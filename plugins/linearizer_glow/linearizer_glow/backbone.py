"""The Glow backbone: levels of steps, each level but the last letting half of its channels go."""

from __future__ import annotations

import math
from collections.abc import Iterator

from linearizer_core.bijections import (
    CAYLEY_LIMIT,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    ConvConditioner,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    HaarSqueeze,
    Identity,
    MaskName,
    MLPConditioner,
    PixelSqueeze,
    PLUMixing,
    Shape,
    SplitMerge,
    coupling_sizes,
    mixing_seeds,
    norm_layers,
    squeeze_levels,
)
from linearizer_core.errors import BijectionError, ConfigError
from linearizer_glow.config import GlowConfig

_SQUEEZES = {"haar": HaarSqueeze, "pixel": PixelSqueeze}
_MIXINGS = {"cayley": CayleyMixing, "plu": PLUMixing, "fixed": FixedOrthogonal}


def glow_backbone(in_shape: Shape, config: GlowConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from ``in_shape`` to a flat latent ``(D,)``, by Kingma and Dhariwal, arXiv 1807.03039.

    For an image ``(C, H, W)``, each level squeezes, runs its steps (normalisation, mixing, coupling), and lets half of its channels go; the last level keeps
    all. The latent holds the last (coarsest) level first and what left the first level last. A one-channel image that is not squeezed has checkerboard
    couplings instead of halves. Any other shape is flattened and has one level with dense conditioners. Every coupling starts as the identity.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape of at least two numbers.
        config: what to chain.
        conditions: names and numbers of categories; every conditioner embeds them.

    Raises:
        ConfigError: when levels do not fit the shape, when the mixing cannot be afforded, or when there is a single number.

    Example:
        >>> import torch
        >>> g = glow_backbone((1, 8, 8), GlowConfig(steps=2))
        >>> x = torch.rand(4, 1, 8, 8)
        >>> z = g(x)  # the first batch sets the normalisations
        >>> z.shape, torch.allclose(g.inverse(z), x, atol=1e-5)
        (torch.Size([4, 64]), True)
    """
    if math.prod(in_shape) < 2:
        raise ConfigError(f"glow for shape {in_shape}: a coupling needs at least 2 numbers, one to move the other")
    return Chain(*_Builder(tuple(in_shape), config, dict(conditions or {})).bricks())


class _Builder:
    """Emits the bricks in order; each mixing draws its own matrix."""

    def __init__(self, in_shape: Shape, config: GlowConfig, conditions: dict[str, int]) -> None:
        self.in_shape = in_shape
        self.config = config
        self.conditions = conditions
        self.squeezes = squeeze_levels(in_shape, config.levels)
        self.log_scale_bound = config.log_scale_bound or config.log_scale_budget / (config.steps * max(self.squeezes, 1))
        self.seeds = mixing_seeds(config.seed)

    def bricks(self) -> Iterator[Bijection]:
        shape = self.in_shape
        if self.config.normalize is not None:
            yield FixedAffine(shape, shift=self.config.normalize.shift, scale=self.config.normalize.scale)
        if len(shape) not in (1, 3):
            yield Flatten(shape)
            shape = (math.prod(shape),)
        yield from self._level(shape, self.squeezes)

    def _level(self, shape: Shape, squeezes: int) -> Iterator[Bijection]:
        """One level and all coarser ones, down to the flat latent; ``squeezes`` are left, that of this level included."""
        if squeezes:
            squeeze = _SQUEEZES[self.config.squeeze](shape)
            yield squeeze
            shape = squeeze.out_shape
        for number in range(self.config.steps):
            yield from self._step(shape, number)
        if squeezes > 1:
            yield from self._coarser(shape, squeezes - 1)
            return
        if len(shape) == 3:
            yield Flatten(shape)
        if self.config.final_mixing:
            yield FixedOrthogonal((math.prod(shape),), seed=next(self.seeds))

    def _coarser(self, shape: Shape, squeezes: int) -> Iterator[Bijection]:
        if not self.config.split:
            yield from self._level(shape, squeezes)
            return
        # A coupling keeps the leading half: the part that stays is also what the last coupling of the level conditioned the part that leaves on.
        stays = coupling_sizes(shape[0])[0]
        yield SplitMerge(Chain(*self._level((stays, *shape[1:]), squeezes)), Identity((shape[0] - stays, *shape[1:])))

    def _step(self, shape: Shape, number: int) -> Iterator[Bijection]:
        yield from norm_layers(shape, norm=self.config.norm, log_scale_bound=self.config.norm_log_scale_bound)
        if shape[0] > 1:
            yield self._mixing(shape)
            yield self._coupling(shape, "halves", flip=False)
        else:
            yield self._coupling(shape, "checkerboard", flip=number % 2 == 1)

    def _mixing(self, shape: Shape) -> Bijection:
        name = self.config.mixing or ("cayley" if shape[0] <= CAYLEY_LIMIT else "fixed")
        try:
            mixing: Bijection = _MIXINGS[name](shape, seed=next(self.seeds))
        except BijectionError as error:
            raise ConfigError(f"mixing = {name!r}: {error}, that is mixing = 'fixed'") from error
        return mixing

    def _coupling(self, shape: Shape, mask: MaskName, *, flip: bool) -> Bijection:
        kept, changed = coupling_sizes(shape[0], flip=flip, mask=mask)
        outputs = changed * (2 if self.config.coupling == "affine" else 1)
        width, depth, lipschitz = self.config.width, self.config.depth, self.config.lipschitz
        conditioner: ConvConditioner | MLPConditioner
        if len(shape) == 3:
            grid = (shape[1], shape[2])
            conditioner = ConvConditioner(kept, outputs, width=width, depth=depth, categories=self.conditions, lipschitz=lipschitz, grid=grid)
        else:
            conditioner = MLPConditioner(kept, outputs, width=width, depth=depth, categories=self.conditions, lipschitz=lipschitz)
        if self.config.coupling == "additive":
            return AdditiveCoupling(shape, conditioner, mask=mask, flip=flip, conditions=self.conditions)
        return AffineCoupling(shape, conditioner, mask=mask, flip=flip, log_scale_bound=self.log_scale_bound, conditions=self.conditions)
