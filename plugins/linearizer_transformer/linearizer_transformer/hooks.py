"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec

_DETAILS = """\
Couplings on patches: an image is cut into patches, and vision transformer blocks over all of them compute how one half of each patch moves the other. Every
coupling sees the whole image, so that quality grows with width, blocks and couplings: it is the backbone to scale. On small data the backbone `coupling` is
cheaper. Vectors are cut into tokens of equal size. It needs timm (`pip install 'linearizer[timm]'`).

It is a bijection for all weights, with an analytic inverse and a log-determinant. By construction, the scales of all couplings together stay within
exp(+-`log_scale_budget`), and shifts and scales are bounded and Lipschitz on all inputs, since attention reads normalised tokens only and normalisations cannot
amplify without limit. The size of these bounds depends on the weights: that round trips are accurate far from the data is measured, not proven. The scale of
the last normalisation is free, unless `norm_log_scale_bound` bounds it. It is not exact to the bit; the backbone `lattice` is."""


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``transformer``."""
    return [
        BackboneSpec(
            "transformer",
            target="linearizer_transformer.backbone:transformer_backbone",
            config="linearizer_transformer.config:TransformerConfig",
            summary="Couplings on patches with attention blocks as conditioners, for images and vectors; the one to scale",
            reference="arXiv 2412.15129",
            details=_DETAILS,
        )
    ]
