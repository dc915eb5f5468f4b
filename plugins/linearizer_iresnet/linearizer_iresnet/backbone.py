"""The i-ResNet backbone: squeezes and contractive residual blocks, chained."""

from __future__ import annotations

from collections.abc import Iterator

from linearizer_core.bijections import (
    Bijection,
    Chain,
    ContractiveResidual,
    FixedAffine,
    FixedOrthogonal,
    Flatten,
    HaarSqueeze,
    PixelSqueeze,
    Shape,
    squeeze_levels,
)
from linearizer_iresnet.config import IResNetConfig
from linearizer_iresnet.residual import BoundedResidual

_SQUEEZES = {"haar": HaarSqueeze, "pixel": PixelSqueeze}


def iresnet_backbone(in_shape: Shape, config: IResNetConfig, conditions: dict[str, int] | None = None) -> Chain:
    r"""A chain :math:`g` of blocks :math:`x + h_i(x)` from ``in_shape`` to a flat latent ``(D,)``; Behrmann et al., arXiv 1811.00995.

    For an image ``(C, H, W)``: for each level a squeeze and blocks with convolutional residuals, then `Flatten`. For every other shape: `Flatten` and
    blocks with dense residuals. Every block starts as the identity. With n blocks of contraction c,

    .. math::
        (1 - c)^n\, |x - y| \le |g(x) - g(y)| \le (1 + c)^n\, |x - y|

    for all x and y, up to the factor of ``normalize``. The log-determinant is there up to 64 dimensions.

    Arguments:
        in_shape: ``(C, H, W)``, or any other shape, which is flattened first.
        config: what to chain.
        conditions: names and numbers of categories; every residual embeds them.

    Raises:
        ConfigError: when levels do not fit the shape.

    Example:
        >>> import torch
        >>> g = iresnet_backbone((1, 8, 8), IResNetConfig())
        >>> g.out_shape, g.inverse_kind
        ((64,), 'iterative')
        >>> x = torch.rand(2, 1, 8, 8)
        >>> torch.allclose(g.inverse(g(x)), x, atol=1e-5)
        True
    """
    return Chain(*_bricks(tuple(in_shape), config, dict(conditions or {})))


def _bricks(shape: Shape, config: IResNetConfig, conditions: dict[str, int]) -> Iterator[Bijection]:
    squeezes = squeeze_levels(shape, config.levels)
    contraction = config.contraction_of(config.blocks * max(squeezes, 1))
    if config.normalize is not None:
        yield FixedAffine(shape, shift=config.normalize.shift, scale=config.normalize.scale)
    if len(shape) == 3:
        for level in range(max(squeezes, 1)):
            if level < squeezes:
                squeeze = _SQUEEZES[config.squeeze](shape)
                yield squeeze
                shape = squeeze.out_shape
            yield from _blocks(shape, config, conditions, contraction)
    flatten = Flatten(shape)
    if len(shape) > 1:
        yield flatten
    if len(shape) != 3:
        yield from _blocks(flatten.out_shape, config, conditions, contraction)
    if config.final_mixing:
        yield FixedOrthogonal(flatten.out_shape, seed=config.seed)


def _blocks(shape: Shape, config: IResNetConfig, conditions: dict[str, int], contraction: float) -> Iterator[Bijection]:
    for _ in range(config.blocks):
        residual = BoundedResidual(shape, width=config.width, depth=config.depth, contraction=contraction, activation=config.activation, categories=conditions)
        yield ContractiveResidual(
            shape, residual, contraction=contraction, tolerance=config.tolerance, max_iterations=config.max_iterations, conditions=conditions
        )
