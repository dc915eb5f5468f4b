"""The coupling backbone: squeezes, mixings and couplings, chained."""

from __future__ import annotations

from collections.abc import Iterator

from linearizer_core.bijections import (
    ActNorm,
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    ConvConditioner,
    ElementwiseAffine,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    HaarSqueeze,
    MLPConditioner,
    PixelSqueeze,
    Shape,
    coupling_sizes,
)
from linearizer_core.errors import ConfigError
from linearizer_coupling.config import CouplingConfig, DenseConfig, LevelConfig

_SQUEEZES = {"haar": HaarSqueeze, "pixel": PixelSqueeze}
_MIXINGS = {"fixed": FixedOrthogonal, "cayley": CayleyMixing}


def coupling_backbone(in_shape: Shape, config: CouplingConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from ``in_shape`` to a flat latent ``(D,)``, by Dinh et al., arXiv 1605.08803, with orthogonal mixing.

    For an image ``(C, H, W)``: for each level a squeeze and couplings with convolutional conditioners, then `Flatten`. For every shape:
    couplings with dense conditioners. Each pair of couplings, the second one flipped, follows a normalisation and an orthogonal mixing;
    a last normalisation and mixing end the chain. Every coupling starts as the identity.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape, which is flattened first.
        config: what to chain.
        conditions: names and numbers of categories; every conditioner embeds them.

    Raises:
        ConfigError: when levels do not fit the shape, or ``class_scale`` is asked for without a condition.
        BijectionError: when couplings are asked for on a single coordinate.

    Example:
        >>> import torch
        >>> g = coupling_backbone((1, 8, 8), CouplingConfig())
        >>> g.out_shape
        (64,)
        >>> x = torch.rand(2, 1, 8, 8)
        >>> torch.allclose(g.inverse(g(x)), x, atol=1e-5)
        True
    """
    if config.class_scale and not conditions:
        raise ConfigError("class_scale = true, but this backbone has no condition; give it one, or set class_scale = false")
    return Chain(*_Builder(config, dict(conditions or {})).bricks(tuple(in_shape)))


class _Builder:
    """Emits the bricks in order, numbering the mixings so that each draws its own matrix."""

    def __init__(self, config: CouplingConfig, conditions: dict[str, int]) -> None:
        self.config = config
        self.conditions = conditions
        self.mixings = 0

    def bricks(self, shape: Shape) -> Iterator[Bijection]:
        levels, dense = self.config.levels_for(shape), self.config.dense_for(shape)
        if self.config.normalize is not None:
            yield FixedAffine(shape, shift=self.config.normalize.shift, scale=self.config.normalize.scale)
        for level in levels:
            squeeze = _SQUEEZES[level.squeeze](shape)
            yield squeeze
            shape = squeeze.out_shape
            yield from self._couplings(shape, level)
        if len(shape) > 1:
            flatten = Flatten(shape)
            yield flatten
            shape = flatten.out_shape
        yield from self._couplings(shape, dense)
        yield from self._norms(shape)
        if self.config.final_mixing:
            yield self._mixing(shape)

    def _couplings(self, shape: Shape, options: LevelConfig | DenseConfig) -> Iterator[Bijection]:
        for number in range(options.couplings):
            if number % 2 == 0:
                yield from self._norms(shape)
                yield self._mixing(shape)
            yield self._coupling(shape, options, flip=number % 2 == 1)

    def _norms(self, shape: Shape) -> Iterator[Bijection]:
        is_image = len(shape) == 3
        if self.config.norm == "actnorm":
            yield ActNorm(shape)
        elif self.config.norm == "affine" and not self.config.class_scale:
            yield ElementwiseAffine(shape, channelwise=is_image)
        if self.config.class_scale:
            for category in self.conditions.items():
                yield ElementwiseAffine(shape, channelwise=is_image, categories=category)

    def _mixing(self, shape: Shape) -> Bijection:
        # Seeds are apart by a prime, so that configurations with neighbouring seeds share no matrix.
        seed = self.config.seed * 7919 + self.mixings
        self.mixings += 1
        return _MIXINGS[self.config.mixing](shape, seed=seed)

    def _coupling(self, shape: Shape, options: LevelConfig | DenseConfig, *, flip: bool) -> Bijection:
        kept, changed = coupling_sizes(shape[0], flip=flip)
        outputs = changed * (2 if self.config.coupling == "affine" else 1)
        conditioner: ConvConditioner | MLPConditioner
        if isinstance(options, LevelConfig):
            grid = (shape[1], shape[2]) if options.token_mixing else None
            conditioner = ConvConditioner(kept, outputs, width=options.width, depth=options.depth, token_mixing=grid, categories=self.conditions)
        else:
            conditioner = MLPConditioner(kept, outputs, width=options.width, depth=options.depth, categories=self.conditions)
        if self.config.coupling == "additive":
            return AdditiveCoupling(shape, conditioner, flip=flip, conditions=self.conditions)
        return AffineCoupling(shape, conditioner, flip=flip, log_scale_bound=self.config.log_scale_bound, conditions=self.conditions)
