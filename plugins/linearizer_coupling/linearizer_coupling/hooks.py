"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
Couplings keep one part of their input and move the other by an amount that a conditioner reads from the kept part; orthogonal mixings in between
exchange the parts. Both directions are analytic and cost the same, the log-determinant is exact, and images and vectors of any shape end in one flat
latent: the backbone to begin with. Guaranteed for any weights are an inverse, and bounds on the scales of couplings: the bounds on the log-scales of
affine couplings, or on the log-slopes of splines, add up to `log_scale_budget`; splines are the identity outside their interval; additive couplings have
determinant 1. The scales of normalisations are free, unless `norm_log_scale_bound` bounds each of them. Not guaranteed by these is a bound on the gain of the
whole network: far from the data a conditioner may react strongly, and rounding errors then grow, most of all in affine couplings, whose shear grows with the
value that is scaled. With `lipschitz`, and `norm_log_scale_bound` or `norm = "none"`, the gain is bounded: of additive couplings by a known number at every
point, of spline couplings at every point, of affine couplings on bounded inputs.
"""


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``coupling``."""
    return [
        BackboneSpec(
            "coupling",
            target="linearizer_coupling.backbone:coupling_backbone",
            config="linearizer_coupling.config:CouplingConfig",
            summary="Affine, additive or spline couplings with orthogonal mixing, for images and vectors",
            reference="arXiv 1605.08803",
            details=_DETAILS,
        )
    ]
