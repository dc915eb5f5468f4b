"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
Glow: steps of normalisation, invertible 1x1 mixing and coupling, at several resolutions. At the end of each level but the last, half of the channels leave;
all parts merge into one flat latent, coarsest level first, so that a core that keeps leading coordinates keeps the coarse content. Use it for likelihoods
on images, and where a multi-scale latent helps. On vectors it is a single level with dense conditioners.

It is a bijection for all weights: the scales of all couplings share one budget (`log_scale_budget`), and the mixing is orthogonal (`cayley`, learned, the
default up to 2,048 channels; `fixed`, the default above) or has a bounded determinant and is inverted by triangular solves (`plu`). By default the gain is not
bounded: shifts, the scales of the normalisation and the triangular factors of `plu` are free, so that far from the data, or after long training, float32 may
lose digits. With `lipschitz`, an orthogonal mixing, and `norm = "none"` or `norm = "affine"` with `norm_log_scale_bound`, the gain of `coupling = "additive"`
is bounded everywhere, that of affine couplings on bounded inputs. ActNorm is set from the first training batch; before it, every call raises."""


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``glow``."""
    return [
        BackboneSpec(
            "glow",
            target="linearizer_glow.backbone:glow_backbone",
            config="linearizer_glow.config:GlowConfig",
            summary="ActNorm, invertible 1x1 mixing and couplings over several scales, merged into one flat latent",
            reference="arXiv 1807.03039",
            details=_DETAILS,
        )
    ]
