"""The target of the spec: a bijection for a shape, a configuration and conditions."""

from __future__ import annotations

from linearizer_core.bijections import Bijection, CayleyMixing, Chain, Flatten, mixing_seeds, norm_layers
from linearizer_sinh.config import SinhConfig
from linearizer_sinh.curve import SinhArcsinh


def sinh_backbone(in_shape: tuple[int, ...], config: SinhConfig, conditions: dict[str, int] | None = None) -> Bijection:
    r""":math:`g = S \circ \prod_i Q_i \, \mathrm{curve}_i \, S_i`: in each layer scale and shift, curve, rotation.

    Images are flattened first, so that the rotations mix all pixels. Where there are conditions, scale and shift have one value per category.

    Example:
        >>> import torch
        >>> g = sinh_backbone((4,), SinhConfig(layers=2))
        >>> x = torch.randn(3, 4, dtype=torch.float64)
        >>> bool((g.double().inverse(g(x)) - x).abs().max() < 1e-12)
        True
    """
    flatten = Flatten(in_shape)
    shape, seeds = flatten.out_shape, mixing_seeds(config.seed)
    bricks: list[Bijection] = [flatten]
    for _ in range(config.layers):
        bricks += norm_layers(shape, norm="affine", conditions=conditions, class_scale=bool(conditions))
        bricks += [SinhArcsinh(shape, tail_bound=config.tail_bound), CayleyMixing(shape, seed=next(seeds))]
    return Chain(*bricks, *norm_layers(shape, norm="affine"))
