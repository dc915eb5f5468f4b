"""The transformer backbone: patches, and couplings whose conditioners attend to all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from linearizer_core.bijections import (
    AdditiveCoupling,
    AffineCoupling,
    Bijection,
    CayleyMixing,
    Chain,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    PatchSqueeze,
    Permutation,
    Shape,
    TimmConditioner,
    coupling_sizes,
    mixing_seeds,
    norm_layers,
)
from linearizer_transformer.config import TransformerConfig

_MIXINGS: dict[str, Callable[..., Bijection]] = {"fixed": FixedOrthogonal, "cayley": CayleyMixing, "permutation": Permutation}


def transformer_backbone(in_shape: Shape, config: TransformerConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from ``in_shape`` to a flat latent ``(D,)``, after Jet: Kolesnikov et al., arXiv 2412.15129.

    An image is cut into patches, any other shape into pieces of equal size. Their numbers are channels: couplings split them in halves, and a vision
    transformer over all patches computes shift and scale from one half. Each pair of couplings, the second one flipped, follows a mixing of channels; a
    scale and shift of every channel, `Flatten` and a mixing of the flat latent end the chain. Every coupling starts as the identity.

    Unlike Jet, log-scales share a budget, mixings are orthogonal unless ``mixing = "permutation"``, and no coupling splits space.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape, which is flattened first.
        config: what to chain.
        conditions: names and numbers of categories; every conditioner embeds them.

    Raises:
        ConfigError: when patches or tokens do not fit the shape, or ``class_scale`` is asked for without a condition.
        ModuleNotFoundError: without timm, which the extra ``timm`` installs.

    Example:
        >>> import torch
        >>> g = transformer_backbone((3, 8, 8), TransformerConfig(couplings=2))
        >>> g.out_shape
        (192,)
        >>> x = torch.rand(2, 3, 8, 8)
        >>> torch.allclose(g.inverse(g(x)), x, atol=1e-5)
        True
    """
    return Chain(*_Builder(config, dict(conditions or {})).bricks(tuple(in_shape)))


class _Builder:
    """Emits the bricks in order; each mixing draws its own matrix."""

    def __init__(self, config: TransformerConfig, conditions: dict[str, int]) -> None:
        self.config = config
        self.conditions = conditions
        self.seeds = mixing_seeds(config.seed)
        next(self.seeds)  # saved models begin with the second seed

    def bricks(self, shape: Shape) -> Iterator[Bijection]:
        patch = self.config.patch_for(shape)
        if self.config.normalize is not None:
            yield FixedAffine(shape, shift=self.config.normalize.shift, scale=self.config.normalize.scale)
        if len(shape) not in (1, 3):
            yield Flatten(shape)
        if len(shape) != 3:
            shape = (1, math.prod(shape), 1)
            yield Flatten(shape).inv
        squeeze = PatchSqueeze(shape, patch=patch)
        yield squeeze
        shape = squeeze.out_shape
        for number in range(self.config.couplings):
            if number % 2 == 0:
                yield _MIXINGS[self.config.mixing](shape, seed=next(self.seeds))
            yield self._coupling(shape, flip=number % 2 == 1)
        config = self.config
        yield from norm_layers(shape, norm=config.norm, conditions=self.conditions, class_scale=config.class_scale, log_scale_bound=config.norm_log_scale_bound)
        flatten = Flatten(shape)
        yield flatten
        if self.config.final_mixing:
            # A Cayley matrix of the whole latent would cost more than all couplings.
            mixing = "permutation" if self.config.mixing == "permutation" else "fixed"
            yield _MIXINGS[mixing](flatten.out_shape, seed=next(self.seeds))

    def _coupling(self, shape: Shape, *, flip: bool) -> Bijection:
        kept, changed = coupling_sizes(shape[0], flip=flip)
        outputs = changed * (2 if self.config.coupling == "affine" else 1)
        conditioner = TimmConditioner(
            kept,
            outputs,
            block="vit",
            grid=(shape[1], shape[2]),
            width=self.config.width,
            depth=self.config.blocks,
            heads=self.config.heads,
            categories=self.conditions,
        )
        if self.config.coupling == "additive":
            return AdditiveCoupling(shape, conditioner, flip=flip, conditions=self.conditions)
        bound = self.config.log_scale_budget / self.config.couplings
        return AffineCoupling(shape, conditioner, flip=flip, log_scale_bound=bound, conditions=self.conditions)
