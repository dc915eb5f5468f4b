"""What is checked: a component by its registered name, or one that is not registered yet."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, final

from linearizer_core import plugins
from linearizer_core.bijections import Bijection, Shape
from linearizer_core.config import Component
from linearizer_core.cores import CoreOperator
from linearizer_core.data import DataSource, Splits
from linearizer_core.demo import Tab
from linearizer_core.errors import CheckFailure, ConfigError
from linearizer_core.factory import create_backbone, create_core, create_dataset, create_task
from linearizer_core.operators import LinearOperator
from linearizer_core.plugins import ComponentKind
from linearizer_core.pretrained import Pretrained, load
from linearizer_core.task import Task
from linearizer_core.testing.check import SubjectKind
from linearizer_core.validation import validate

BACKBONE_SHAPES: tuple[Shape, ...] = ((5,), (8,), (1, 8, 8), (3, 8, 8), (5, 4, 4), (2, 8, 4), (3, 4, 6))
"""Vectors of odd and even size, and images: grey, colour, with an odd number of channels, and not square."""

CORE_SHAPES: tuple[tuple[int, int], ...] = ((6, 6), (40, 40), (4, 7))
"""Small, large enough for a default rank, and rectangular."""


_REGISTERED: dict[SubjectKind, ComponentKind] = {"backbone": "backbone", "core": "operator", "task": "task", "dataset": "dataset"}


@dataclass(frozen=True)
class Subject(ABC):
    """Something to run checks on.

    Args:
        target: a registered name, or what makes the component: a function or class.
        title: how it is called in results; the name of the target when left out.
        options: options of the component, by keyword.

    Raises:
        UnknownNameError: for a name that no plugin registered.
        ConfigError: for an option that the registered component does not know.
    """

    kind: ClassVar[SubjectKind]

    target: Any
    _: KW_ONLY
    title: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # At once, since a mistake in an option would otherwise look like a shape that the component refuses.
        if isinstance(self.target, str):
            validate(plugins.find(_REGISTERED[self.kind], self.target).load_config(), self.options, where=f"{self.kind} {self.target!r}")

    @property
    def name(self) -> str:
        """How the subject is called in results."""
        if self.title or isinstance(self.target, str):
            return self.title or str(self.target)
        return str(getattr(self.target, "__name__", type(self.target).__name__))

    def _make(self, registered: Callable[..., Any], expected: type[Any], *arguments: Any, **keywords: Any) -> Any:
        if isinstance(self.target, str):
            return registered(self.target, *arguments, **keywords, **self.options)
        made = self.target(*arguments, **keywords, **self.options)
        if not isinstance(made, expected):
            raise CheckFailure(f"{self.name} made a {type(made).__name__}, expected a {expected.__module__}.{expected.__name__}")
        return made


@final
@dataclass(frozen=True)
class BackboneSubject(Subject):
    """A bijection for several shapes; a target that is no name is called as ``target(in_shape, conditions=..., **options)``.

    A backbone may refuse a shape, or conditions, by an error of ours when it is made; one shape must work.

    Args:
        shapes: shapes of one example to try.
        conditions: categorical conditions to ask for, name to number of categories.

    Example:
        >>> from linearizer_core.bijections import ElementwiseAffine
        >>> subject = BackboneSubject(lambda shape, conditions: ElementwiseAffine(shape), title="affine", shapes=[(3,)])
        >>> subject.make((3,))
        ElementwiseAffine((3,) -> (3,))
    """

    kind = "backbone"

    _: KW_ONLY
    shapes: Sequence[Shape] = BACKBONE_SHAPES
    conditions: Mapping[str, int] = field(default_factory=lambda: {"label": 3})

    def make(self, shape: Shape, *, conditional: bool = False) -> Bijection:
        """A new bijection, with the conditions of the subject or with none."""
        made: Bijection = self._make(create_backbone, Bijection, tuple(shape), conditions=dict(self.conditions) if conditional else None)
        return made


@final
@dataclass(frozen=True)
class CoreSubject(Subject):
    """A learnable core for several shapes; a target that is no name is called as ``target(shape, conditions=..., **options)``.

    Args:
        shapes: shapes ``(m, n)`` to try; a core may refuse one by an error of ours.
        conditions: categorical conditions to ask for, name to number of categories.
        prepare: called on every new core before and after its weights move, for instance to fit it to latents; float64, in training mode.
    """

    kind = "core"

    _: KW_ONLY
    shapes: Sequence[tuple[int, int]] = CORE_SHAPES
    conditions: Mapping[str, int] = field(default_factory=lambda: {"label": 3})
    prepare: Callable[[Any], object] | None = None

    def make(self, shape: tuple[int, int], *, conditional: bool = False) -> CoreOperator:
        """A new core, with the conditions of the subject or with none."""
        made: CoreOperator = self._make(create_core, CoreOperator, tuple(shape), conditions=dict(self.conditions) if conditional else None)
        return made


@final
@dataclass(frozen=True)
class OperatorSubject(Subject):
    """A linear operator: the target is one.

    Example:
        >>> import torch
        >>> from linearizer_core.operators import Diagonal
        >>> OperatorSubject(Diagonal(torch.ones(3))).name
        'Diagonal'
    """

    kind = "operator"

    def __post_init__(self) -> None:
        """Nothing to look up: linear operators are not registered."""

    def make(self) -> LinearOperator:
        """The operator."""
        if not isinstance(self.target, LinearOperator):
            raise CheckFailure(f"{self.name}: the target is a {type(self.target).__name__}, expected a linearizer_core.operators.LinearOperator")
        return self.target


@final
@dataclass(frozen=True)
class TaskSubject(Subject):
    """A task; a target that is no name is called as ``target(**options)``.

    Args:
        backbone: what the model is built from, a registered name with options; when left out, the first backbone with which the task builds a model.
        core: the same for the core.
        splits: the data; small labelled images that the kit makes when left out.
    """

    kind = "task"

    _: KW_ONLY
    backbone: Component | None = None
    core: Component | None = None
    splits: Splits | None = None

    def make(self) -> Task:
        """A new task."""
        made: Task = self._make(create_task, Task)
        return made


@final
@dataclass(frozen=True)
class DatasetSubject(Subject):
    """A data source; a target that is no name is called as ``target(**options)``."""

    kind = "dataset"

    def make(self) -> DataSource:
        """A new data source."""
        made: DataSource = self._make(create_dataset, DataSource)
        return made


@final
@dataclass(frozen=True)
class TabSubject(Subject):
    """A tab of the demo; a target that is no name is called without arguments.

    Args:
        models: trained models by name to try it on; all that are registered when left out. A tab that lacks something of each of them is not run.

    Raises:
        ConfigError: for options, which tabs do not have.
    """

    kind = "tab"

    _: KW_ONLY
    models: Mapping[str, Pretrained] | None = None

    def __post_init__(self) -> None:
        if self.options:
            raise ConfigError(f"{sorted(self.options)[0]!r} was given, but a tab has no options; its controls are set in the demo")
        if isinstance(self.target, str):
            plugins.find("tab", self.target)

    def make(self) -> Tab:
        """A new tab."""
        made: Tab = self._make(lambda name: plugins.find("tab", name).load_target()(), Tab)
        return made

    def opened(self) -> Iterator[tuple[str, Pretrained]]:
        """The models, one after another."""
        return iter((self.models if self.models is not None else {name: load(name) for name in plugins.specs("pretrained")}).items())


_SUBJECTS: dict[ComponentKind | Literal["tab"], type[Subject]] = {
    "backbone": BackboneSubject,
    "operator": CoreSubject,
    "task": TaskSubject,
    "dataset": DatasetSubject,
    "tab": TabSubject,
}


def subject_named(kind: ComponentKind | Literal["tab"], name: str, options: Mapping[str, Any] | None = None) -> Subject:
    """The subject of a registered component: ``kind`` as in `linearizer list`, where "operator" means a core.

    Raises:
        UnknownNameError: for a name that no plugin registered.
        ConfigError: for an option that the component does not know.
    """
    return _SUBJECTS[kind](name, options=options or {})
