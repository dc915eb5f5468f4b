"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
Couplings keep one part of their input and move the other by an amount that a conditioner reads from the kept part; orthogonal mixings in between
exchange the parts. Both directions are analytic and cost the same, the log-determinant is exact, and images and vectors of any shape end in one flat
latent: the backbone to begin with. Guaranteed for any weights are an inverse, and bounds on the scales: each affine coupling has a log-scale of at most
`log_scale_bound` in size, each spline a derivative in [1/m, m] and the identity outside its interval, additive couplings have determinant 1, and with
`log_scale_budget` the sizes of all learned log-scales add up to at most that number. Not guaranteed by these is a bound on the gain of the whole network:
far from the data a conditioner may react strongly, and rounding errors then grow, most of all in affine couplings, whose shear grows with the value that
is scaled. With `lipschitz` and a budget the gain of additive couplings is bounded by a known number at every point, and that of spline couplings is bounded.
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
