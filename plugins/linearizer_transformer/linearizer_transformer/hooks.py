"""What this plugin provides. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.hookspecs import hookimpl
from linearizer_core.specs import BackboneSpec


@hookimpl
def linearizer_backbones() -> Sequence[BackboneSpec]:
    """The backbone ``transformer``."""
    return []
