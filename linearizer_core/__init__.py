"""Linearizer: networks that are linear between induced vector spaces (arXiv 2510.08570).

``import linearizer_core`` imports no torch; each public name loads its module on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linearizer_core.bijections import Bijection, TractableBijection
    from linearizer_core.condition import Condition
    from linearizer_core.config_file import load_config
    from linearizer_core.cores import CoreOperator, TimeDependentCore
    from linearizer_core.factory import create, create_backbone, create_core, create_dataset, create_task
    from linearizer_core.linearizer import Linearizer
    from linearizer_core.model import LinearizerModel
    from linearizer_core.operators import LinearOperator
    from linearizer_core.pretrained import Pretrained, load
    from linearizer_core.space import InducedSpace

__version__ = "0.1.0"

__all__ = [
    "Bijection",
    "Condition",
    "CoreOperator",
    "InducedSpace",
    "LinearOperator",
    "Linearizer",
    "LinearizerModel",
    "Pretrained",
    "TimeDependentCore",
    "TractableBijection",
    "create",
    "create_backbone",
    "create_core",
    "create_dataset",
    "create_task",
    "load",
    "load_config",
]

_MODULES = {
    "bijections": ("Bijection", "TractableBijection"),
    "condition": ("Condition",),
    "config_file": ("load_config",),
    "cores": ("CoreOperator", "TimeDependentCore"),
    "factory": ("create", "create_backbone", "create_core", "create_dataset", "create_task"),
    "linearizer": ("Linearizer",),
    "model": ("LinearizerModel",),
    "operators": ("LinearOperator",),
    "pretrained": ("Pretrained", "load"),
    "space": ("InducedSpace",),
}
_HOME = {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
