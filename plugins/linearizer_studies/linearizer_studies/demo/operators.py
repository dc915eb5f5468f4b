"""The operator of a saved model, where there is one that maps points to points."""

from __future__ import annotations

from linearizer_core.cores import GeneratorCore, TimeDependentCore
from linearizer_core.errors import ConfigError
from linearizer_core.operators import LinearOperator
from linearizer_core.pretrained import Pretrained
from linearizer_core.space import InducedSpace


def operator_of(pretrained: Pretrained) -> LinearOperator | None:
    """The saved operator, or that of the core; None for a core with an operator for each time or category, or whose operator is a generator."""
    core = pretrained.model.core
    if pretrained.operator is not None:
        return pretrained.operator
    return None if core.conditions or isinstance(core, TimeDependentCore | GeneratorCore) else core.operator()


def space_of(pretrained: Pretrained) -> InducedSpace | None:
    """The space where all examples meet; None where the model has none, or its points are larger than an example."""
    try:
        space = pretrained.task.data_space(pretrained.model)
    except ConfigError:
        return None
    return space if space.shape == pretrained.config.data.shape else None
