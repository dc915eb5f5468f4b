"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
i-RevNet: additive couplings with bottleneck networks, and downsampling that moves every 2x2 square of pixels into channels. Use it for images where volume
need not change: features, projectors, dynamics that keep volume.

It is a bijection for all weights. Its blocks only add and subtract, and all that follows is orthogonal, so that the determinant is 1 in absolute value
everywhere (`normalize` aside). Its gain grows with that of the bottlenecks, which `lipschitz` bounds; without it there is no bound. It is not exact to the
bit: the backbone `lattice` is. The batch normalisation of the paper is left out: with the statistics of a batch the inverse would see another function. The
bottlenecks have no normalisation, or one within each example (`group_norm`), of large gain on nearly constant images.

With `padding` above 0 the network is wider than the data. It is then injective, not onto: `g.inverse(g(x))` still gives x, but sums of latents leave the
image of g, so that it induces no vector space, and linearizers and models refuse it. It is then a feature extractor whose features can be inverted, and no
more."""


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``irevnet``."""
    return [
        BackboneSpec(
            "irevnet",
            target="linearizer_irevnet.backbone:irevnet_backbone",
            config="linearizer_irevnet.config:IRevNetConfig",
            summary="Bottleneck couplings of determinant 1 and invertible downsampling, for images",
            reference="arXiv 1802.07088",
            details=_DETAILS,
        )
    ]
