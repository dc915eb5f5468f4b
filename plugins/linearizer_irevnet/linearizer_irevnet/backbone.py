"""The i-RevNet backbone: downsampling and bottleneck couplings, chained."""

from __future__ import annotations

import math
from collections.abc import Iterator

from linearizer_core.bijections import (
    AdditiveCoupling,
    Bijection,
    Chain,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    PixelSqueeze,
    Shape,
    ZeroPadding,
    coupling_sizes,
    squeeze_levels,
)
from linearizer_core.errors import ConfigError
from linearizer_irevnet.bottleneck import BottleneckConditioner
from linearizer_irevnet.config import IRevNetConfig


def irevnet_backbone(in_shape: Shape, config: IRevNetConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` from an image to a flat latent, by Jacobsen et al., arXiv 1802.07088: blocks :math:`(x_1, x_2) \to (x_2, x_1 + F(x_2))`.

    The exchange of the halves is not carried out: the roles alternate instead, which is the same network up to the order of channels. Each downsampling
    deals the halves anew, the upper and the lower rows of each 2x2 square. Of an odd number of channels the second half holds one more. Every block starts
    as the identity, and all have determinant 1.

    Arguments:
        in_shape: ``(C, H, W)``.
        config: what to chain; with ``padding`` the map is injective only (``surjective = False``) and its latent longer than the data.
        conditions: names and numbers of categories; every bottleneck embeds them.

    Raises:
        ConfigError: when the shape is no image, when levels do not fit it, when there is one channel to halve, or when ``lipschitz`` meets ``group_norm``.

    Example:
        >>> import torch
        >>> g = irevnet_backbone((3, 8, 8), IRevNetConfig(blocks=2))
        >>> x = torch.rand(4, 3, 8, 8)
        >>> z, logdet = g.forward_and_logdet(x)
        >>> z.shape, logdet.tolist(), torch.allclose(g.inverse(z), x, atol=1e-5)
        (torch.Size([4, 192]), [0.0, 0.0, 0.0, 0.0], True)
        >>> wide = irevnet_backbone((3, 8, 8), IRevNetConfig(blocks=2, padding=4))
        >>> wide.surjective, wide.out_shape
        (False, (256,))
    """
    if len(in_shape) != 3:
        raise ConfigError(f"irevnet for shape {in_shape}: expected an image (C, H, W); use coupling or glow for other data")
    return Chain(*_bricks(tuple(in_shape), config, dict(conditions or {})))


def _bricks(shape: Shape, config: IRevNetConfig, conditions: dict[str, int]) -> Iterator[Bijection]:
    squeezes = squeeze_levels(shape, config.levels)
    if config.normalize is not None:
        yield FixedAffine(shape, shift=config.normalize.shift, scale=config.normalize.scale)
    for level in range(max(squeezes, 1)):
        if squeezes:
            squeeze = PixelSqueeze(shape)
            yield squeeze
            shape = squeeze.out_shape
        if level == 0 and config.padding:
            padding = ZeroPadding(shape, channels=config.padding)
            yield padding
            shape = padding.out_shape
        if shape[0] < 2:
            raise ConfigError(f"irevnet: 1 channel at {shape[1]}x{shape[2]} cannot be halved; set levels = 1, pad the images to even sides, or use glow")
        for number in range(config.blocks):
            yield _block(shape, config, conditions, flip=number % 2 == 0)
    yield Flatten(shape)
    if config.final_mixing:
        yield FixedOrthogonal((math.prod(shape),), seed=config.seed)


def _block(shape: Shape, config: IRevNetConfig, conditions: dict[str, int], *, flip: bool) -> Bijection:
    kept, changed = coupling_sizes(shape[0], flip=flip)
    bottleneck = BottleneckConditioner(
        kept,
        changed,
        grid=(shape[1], shape[2]),
        width=config.width,
        group_norm=config.group_norm,
        lipschitz=config.lipschitz,
        categories=conditions,
    )
    return AdditiveCoupling(shape, bottleneck, flip=flip, conditions=conditions)
