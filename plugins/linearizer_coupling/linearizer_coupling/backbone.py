"""The coupling backbone: squeezes, mixings and couplings, chained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from torch import nn

from linearizer_core.bijections import (
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
    MLPConditioner,
    PixelSqueeze,
    ResNetConditioner,
    Shape,
    SplineCoupling,
    TimmConditioner,
    UNetConditioner,
    coupling_sizes,
    mixing_seeds,
    norm_layers,
)
from linearizer_core.errors import ConfigError
from linearizer_coupling.config import CouplingConfig, DenseConfig, LevelConfig

_SQUEEZES = {"haar": HaarSqueeze, "pixel": PixelSqueeze}
_MIXINGS = {"fixed": FixedOrthogonal, "cayley": CayleyMixing}


def coupling_backbone(in_shape: Shape, config: CouplingConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from ``in_shape`` to a flat latent ``(D,)``, by Dinh et al., arXiv 1605.08803, with orthogonal mixing.

    For an image ``(C, H, W)``: for each level a squeeze and couplings with conditioners for images, then `Flatten`. For every shape:
    couplings with dense conditioners. Each pair of couplings, the second one flipped, follows a normalisation and an orthogonal mixing;
    a last normalisation and mixing end the chain. Every coupling starts as the identity. Without dense couplings and final mixing the latent of an image
    keeps its places: the last normalisation is one of channels, and no weight depends on height and width unless tokens are mixed.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape, which is flattened first.
        config: what to chain.
        conditions: names and numbers of categories; every conditioner embeds them.

    Raises:
        ConfigError: when levels do not fit the shape, options exclude each other, or ``class_scale`` is asked for without a condition.
        BijectionError: when a mask does not fit, such as that of couplings on a single coordinate.
        ModuleNotFoundError: for conditioners made of timm's blocks, without timm.

    Example:
        >>> import torch
        >>> g = coupling_backbone((1, 8, 8), CouplingConfig())
        >>> g.out_shape
        (64,)
        >>> x = torch.rand(2, 1, 8, 8)
        >>> torch.allclose(g.inverse(g(x)), x, atol=1e-5)
        True
    """
    return Chain(*_Builder(config, tuple(in_shape), dict(conditions or {})).bricks())


class _Builder:
    """Emits the bricks in order; each mixing draws its own matrix."""

    def __init__(self, config: CouplingConfig, in_shape: Shape, conditions: dict[str, int]) -> None:
        self.config = config
        self.in_shape = in_shape
        self.conditions = conditions
        self.seeds = mixing_seeds(config.seed)
        self.coupling_bound = config.coupling_bound(in_shape)

    def bricks(self) -> Iterator[Bijection]:
        shape = self.in_shape
        levels, dense = self.config.levels_for(shape), self.config.dense_for(shape)
        if self.config.normalize is not None:
            yield FixedAffine(shape, shift=self.config.normalize.shift, scale=self.config.normalize.scale)
        for level in levels:
            if level.squeeze != "none":
                squeeze = _SQUEEZES[level.squeeze](shape)
                yield squeeze
                shape = squeeze.out_shape
            yield from self._couplings(shape, level)
        if len(shape) > 1 and not dense.couplings and not self.config.final_mixing:
            yield from self._norms(shape)
            yield Flatten(shape)
            return
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

    def _norms(self, shape: Shape) -> list[Bijection]:
        config = self.config
        return norm_layers(shape, norm=config.norm, conditions=self.conditions, class_scale=config.class_scale, log_scale_bound=config.norm_log_scale_bound)

    def _mixing(self, shape: Shape) -> Bijection:
        return _MIXINGS[self.config.mixing](shape, seed=next(self.seeds))

    def _coupling(self, shape: Shape, options: LevelConfig | DenseConfig, *, flip: bool) -> Bijection:
        kept, changed = coupling_sizes(shape[0], flip=flip, mask=options.mask)
        outputs = changed * {"affine": 2, "additive": 1, "spline": 3 * self.config.spline.bins - 1}[self.config.coupling]
        sizes: dict[str, Any] = {"width": options.width, "depth": options.depth, "categories": self.conditions}
        if isinstance(options, LevelConfig):
            conditioner = self._image_conditioner(shape, options, kept, outputs, sizes)
        else:
            conditioner = MLPConditioner(kept, outputs, **sizes, lipschitz=self.config.lipschitz)
        common: dict[str, Any] = {"flip": flip, "mask": options.mask, "conditions": self.conditions}
        if self.config.coupling == "additive":
            return AdditiveCoupling(shape, conditioner, **common, shift_bound=self.config.shift_bound)
        if self.config.coupling == "affine":
            return AffineCoupling(shape, conditioner, **common, log_scale_bound=self.coupling_bound, shift_bound=self.config.shift_bound)
        spline = self.config.spline
        return SplineCoupling(shape, conditioner, **common, bins=spline.bins, interval=spline.interval, slope_bound=math.exp(self.coupling_bound))

    def _image_conditioner(self, shape: Shape, options: LevelConfig, kept: int, outputs: int, sizes: dict[str, Any]) -> nn.Module:
        name, grid = options.conditioner, (shape[1], shape[2])
        if name != "conv" and options.token_mixing:
            raise ConfigError(f"levels: token_mixing = true with conditioner = {name!r}; only conditioner = 'conv' mixes tokens")
        if name != "conv" and self.config.lipschitz is not None:
            raise ConfigError(
                f"lipschitz = {self.config.lipschitz} with conditioner = {name!r}, whose Lipschitz constant cannot be bounded; give conditioner = 'conv'"
            )
        if name == "resnet":
            return ResNetConditioner(kept, outputs, **sizes)
        if name == "unet":
            return UNetConditioner(kept, outputs, **sizes)
        if name == "timm":
            timm = options.timm
            return TimmConditioner(kept, outputs, **sizes, grid=grid, block=timm.block, heads=timm.heads, patch=timm.patch)
        mixing = grid if options.token_mixing else None
        return ConvConditioner(kept, outputs, **sizes, token_mixing=mixing, lipschitz=self.config.lipschitz, grid=grid)
