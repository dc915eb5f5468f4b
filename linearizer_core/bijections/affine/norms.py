"""The normalisation between couplings that options choose."""

from __future__ import annotations

from linearizer_core.backbone_options import NormName, check_norm_bound
from linearizer_core.bijections.affine.actnorm import ActNorm
from linearizer_core.bijections.affine.elementwise import ElementwiseAffine
from linearizer_core.bijections.base import Bijection, Shape
from linearizer_core.errors import ConfigError


def norm_layers(
    shape: Shape, *, norm: NormName, conditions: dict[str, int] | None = None, class_scale: bool = False, log_scale_bound: float | None = None
) -> list[Bijection]:
    """The bricks of one normalisation: a scale and shift of every coordinate, for images ``(C, H, W)`` of every channel.

    Arguments:
        shape: what is normalised.
        norm: ``affine`` learns scale and shift, ``actnorm`` sets them from the first batch as well, ``none`` does nothing.
        conditions: names and numbers of categories.
        class_scale: one learned scale and shift for each category of each condition; takes the place of ``affine``.
        log_scale_bound: bound on every log-scale of ``affine`` and ``class_scale``, or None.

    Raises:
        ConfigError: for ``class_scale`` without a condition, or a bound that nothing would keep: with ``actnorm``, or with ``none`` alone.

    Example:
        >>> [type(layer).__name__ for layer in norm_layers((3, 8, 8), norm="actnorm", conditions={"label": 10}, class_scale=True)]
        ['ActNorm', 'ElementwiseAffine']
        >>> norm_layers((6,), norm="affine", log_scale_bound=0.1)[0].log_scale_bound
        0.1
    """
    check_norm_bound(norm, log_scale_bound, class_scale=class_scale)
    if class_scale and not conditions:
        raise ConfigError("class_scale = true, but this backbone has no condition; give it one, or set class_scale = false")
    categories: list[tuple[str, int] | None] = [None] if norm == "affine" else []
    if class_scale:
        categories = [*(conditions or {}).items()]
    layers: list[Bijection] = [ActNorm(shape)] if norm == "actnorm" else []
    return layers + [ElementwiseAffine(shape, channelwise=len(shape) == 3, categories=each, log_scale_bound=log_scale_bound) for each in categories]
