"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``coupling``."""
    return [
        BackboneSpec(
            "coupling",
            target="linearizer_coupling.backbone:coupling_backbone",
            config="linearizer_coupling.config:CouplingConfig",
            summary="Affine or additive couplings with orthogonal mixing, for images and vectors",
            reference="arXiv 1605.08803",
        )
    ]
