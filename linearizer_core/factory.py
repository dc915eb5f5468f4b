"""From a registered name and options to a constructed component. Importing this module imports no torch; making something does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from linearizer_core import plugins
from linearizer_core.config import Component
from linearizer_core.errors import ConfigError, PluginError, TargetError
from linearizer_core.plugins import ComponentKind
from linearizer_core.validation import try_validate, validate

_KIND_OF_FIELD: dict[str, ComponentKind] = {"task": "task", "backbone": "backbone", "core": "operator", "data": "dataset"}

if TYPE_CHECKING:
    from linearizer_core.bijections import Bijection
    from linearizer_core.config import ModelConfig, RunConfig
    from linearizer_core.cores import CoreOperator
    from linearizer_core.data import DataInfo, DataSource
    from linearizer_core.model import LinearizerModel
    from linearizer_core.study import Study
    from linearizer_core.task import Task


def create(name: str, *, kind: ComponentKind = "backbone", **arguments: Any) -> Any:
    """Make any component: `create_backbone`, `create_core`, `create_task` or `create_dataset`, by ``kind``.

    Example:
        >>> create("nonesuch", in_shape=(2,))
        Traceback (most recent call last):
        linearizer_core.errors.UnknownNameError: there is no backbone named 'nonesuch'...
    """
    makers: dict[ComponentKind, Callable[..., Any]] = {
        "backbone": create_backbone,
        "operator": create_core,
        "task": create_task,
        "dataset": create_dataset,
    }
    if kind not in makers:
        raise ConfigError(f"kind {kind!r} cannot be created; kinds: {', '.join(makers)}")
    return makers[kind](name, **arguments)


def create_backbone(name: str, in_shape: tuple[int, ...], *, conditions: dict[str, int] | None = None, **options: Any) -> Bijection:
    r"""A bijection :math:`g: \mathbb{R}^D \to \mathbb{R}^D`, untrained; ``in_shape`` holds D elements and excludes the batch dimension.

    Raises:
        UnknownNameError: when no plugin registered the name.
        ConfigError: when an option is unknown or of the wrong type.
        TargetError: when the plugin's target cannot be imported or makes something else.
    """
    from linearizer_core.bijections import Bijection

    made: Bijection = _make("backbone", name, options, Bijection, in_shape, conditions=conditions)
    if made.in_shape != tuple(in_shape):
        raise TargetError(f"backbone {name!r} was asked for in_shape {tuple(in_shape)}, got {made.in_shape}; correct the plugin's target")
    return made


def create_core(name: str, shape: tuple[int, int], *, conditions: dict[str, int] | None = None, **options: Any) -> CoreOperator:
    r"""A learnable core :math:`A: \mathbb{R}^n \to \mathbb{R}^m` with ``shape = (m, n)``.

    Raises:
        UnknownNameError: when no plugin registered the name.
        ConfigError: when an option is unknown or of the wrong type.
        TargetError: when the plugin's target cannot be imported or makes something else.
    """
    from linearizer_core.cores import CoreOperator

    made: CoreOperator = _make("operator", name, options, CoreOperator, shape, conditions=conditions)
    if made.shape != tuple(shape):
        raise TargetError(f"operator {name!r} was asked for shape {tuple(shape)}, got {made.shape}; correct the plugin's target")
    return made


def create_task(name: str, **options: Any) -> Task:
    """A task, ready to build and train its model.

    Raises:
        UnknownNameError: when no plugin registered the name.
        ConfigError: when an option is unknown or of the wrong type.
        TargetError: when the plugin's target cannot be imported or makes something else.
    """
    from linearizer_core.task import Task

    made: Task = _make("task", name, options, Task)
    return made


def create_dataset(name: str, **options: Any) -> DataSource:
    """A data source; nothing is read before its ``load()``.

    Raises:
        UnknownNameError: when no plugin registered the name.
        ConfigError: when an option is unknown or of the wrong type.
        TargetError: when the plugin's target cannot be imported or makes something else.
    """
    from linearizer_core.data import DataSource

    made: DataSource = _make("dataset", name, options, DataSource)
    return made


def create_study(name: str, **options: Any) -> Study:
    """A study, ready to run.

    Raises:
        UnknownNameError: when no plugin registered the name.
        ConfigError: when an option is unknown or of the wrong type.
        TargetError: when the plugin's target cannot be imported or makes something else.
    """
    from linearizer_core.study import Study

    made: Study = _make("study", name, options, Study)
    return made


def build_model(config: ModelConfig, info: DataInfo, seed: int = 0) -> tuple[Task, LinearizerModel]:
    """Make a task and its untrained model from their configuration; the same seed gives the same weights.

    Raises:
        UnknownNameError, ConfigError, TargetError: when a component is not registered, not configured right, or not what its spec says.
    """
    import torch

    from linearizer_core.task import BuildContext

    task = create_task(config.task.name, **config.task.options)
    context = BuildContext(
        info=info,
        backbone=lambda shape, conditions: create_backbone(config.backbone.name, shape, conditions=conditions, **config.backbone.options),
        core=lambda shape, conditions: create_core(config.core.name, shape, conditions=conditions, **config.core.options),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task, task.build(context)


def validate_components(config: RunConfig) -> list[str]:
    """What is wrong with the names and options of the components, one line each with the full key; empty where all is well.

    A component inside the options of another (a field of type `Component` called ``backbone``, ``core``, ``data`` or ``task``) is
    validated too. Imports the configuration modules of the plugins that are named, not their targets.
    """
    return _problems_inside(config, "")


def _problems_inside(config: BaseModel, prefix: str) -> list[str]:
    problems: list[str] = []
    for field in type(config).model_fields:
        value = getattr(config, field)
        if isinstance(value, Component) and field in _KIND_OF_FIELD:
            problems += _problems_of(value, _KIND_OF_FIELD[field], f"{prefix}{field}.")
        elif isinstance(value, BaseModel):
            problems += _problems_inside(value, f"{prefix}{field}.")
    return problems


def _problems_of(component: Component, kind: ComponentKind, prefix: str) -> list[str]:
    try:
        model = plugins.find(kind, component.name).load_config()
    except PluginError as error:
        return [f"{prefix}name = {component.name!r}: {error}"]
    outcome = try_validate(model, component.options, prefix)
    return outcome if isinstance(outcome, list) else _problems_inside(outcome, prefix)


def _make(kind: ComponentKind | Literal["study"], name: str, options: Mapping[str, Any], base: type[Any], *arguments: Any, **keywords: Any) -> Any:
    spec = plugins.find(kind, name)
    config = validate(spec.load_config(), options, where=f"{kind} {name!r}")
    made = spec.load_target()(*arguments, config, **keywords)
    if not isinstance(made, base):
        expected = f"{base.__module__}.{base.__name__}"
        raise TargetError(f"{kind} {name!r}: target {spec.target!r} made a {type(made).__name__}, not a {expected}; correct the plugin")
    return made
