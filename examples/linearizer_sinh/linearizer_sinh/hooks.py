"""What this plugin hands over. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec


@hookimpl
def linearizer_backbones() -> list[BackboneSpec]:
    return [
        BackboneSpec(
            "sinh",
            target="linearizer_sinh.backbone:sinh_backbone",
            config="linearizer_sinh.config:SinhConfig",
            summary="layers of sinh-arcsinh curves and learned rotations, closed-form both ways",
            reference="Jones and Pewsey, Biometrika 2009; Laparra, Camps-Valls and Malo, arXiv 1602.00229",
        )
    ]
