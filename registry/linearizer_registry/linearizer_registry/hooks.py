"""What this plugin hands over: the trained models of the catalog. Imports no torch."""

from __future__ import annotations

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import PretrainedSpec


@hookimpl
def linearizer_pretrained() -> list[PretrainedSpec]:
    return [
        PretrainedSpec("flow.cifar10", location="linearizer_registry:models/flow.cifar10", summary="one-step CIFAR-10 at 32x32, conditioned on the class"),
        PretrainedSpec("flow.emoji64", location="linearizer_registry:models/flow.emoji64", summary="one-step colour emoji at 64x64, without labels"),
    ]
