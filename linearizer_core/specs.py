"""What a plugin hands over: frozen descriptions of what it provides, loaded on first use. Torch-free.

A spec names its target and its configuration as strings of the form ``"package.module:Name"``, so that listing what is
installed imports neither the target nor torch.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from linearizer_core.errors import PluginError, TargetError

if TYPE_CHECKING:
    from pydantic import BaseModel

Kind = Literal["backbone", "operator", "task", "dataset", "study", "command", "tab", "pretrained"]
"""The eight kinds of thing a plugin may provide."""

PLURALS: dict[Kind, str] = {
    "backbone": "backbones",
    "operator": "operators",
    "task": "tasks",
    "dataset": "datasets",
    "study": "studies",
    "command": "commands",
    "tab": "tabs",
    "pretrained": "pretrained",
}
"""How more than one of a kind is called, on the command line and in the names of hooks."""

KINDS: tuple[Kind, ...] = get_args(Kind)

API_VERSIONS = ("1",)
"""Versions of the plugin interface that this release of the framework understands."""

CORE_COMMANDS = frozenset({"check", "collapse", "describe", "eval", "list", "new", "plugins", "pull", "push", "sample", "study", "train"})
"""Names of the commands of the core, which no plugin may take."""

RESERVED_FIELDS = frozenset({"conditions", "in_shape", "kind", "name", "shape"})
"""Names that a configuration may not give its fields: `linearizer_core.factory` passes arguments of these names next to the options."""

_WORDS = r"[a-z][a-z0-9]*([_-][a-z0-9]+)*"
_NAME = re.compile(_WORDS)
_PRETRAINED_NAME = re.compile(rf"{_WORDS}\.[a-z0-9]+([_-][a-z0-9]+)*")
_REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_LOCATION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w.-]+(/[\w.-]+)*")


@dataclass(frozen=True)
class Spec(ABC):
    """What all kinds of spec share: a name, one line of summary, a reference (paper or URL) and the plugin interface it was written for."""

    kind: ClassVar[Kind]

    name: str
    _: KW_ONLY
    summary: str
    reference: str = ""
    api: str = "1"

    def check(self) -> None:
        """Raise unless the spec is well formed. Discovery calls it; nothing is imported.

        Raises:
            PluginError: for a field that is no string, a malformed name or target, or an empty summary.
        """
        for field, value in vars(self).items():
            if not isinstance(value, str):
                raise PluginError(f"{self.kind} {self.name!r}: {field} is {value!r}, expected a string")
        self._check_name(_NAME, "lower-case words joined by _ or -, such as 'coupling' or 'low_rank'")
        if not self.summary.strip():
            raise PluginError(f"{self.kind} {self.name!r}: summary is empty; say in one line what it is")

    def _check_name(self, pattern: re.Pattern[str], expected: str) -> None:
        if not pattern.fullmatch(self.name):
            raise PluginError(f"{self.kind} name {self.name!r} is malformed; expected {expected}")

    def _check_reference(self, field: str, pattern: re.Pattern[str], expected: str) -> None:
        value = getattr(self, field)
        if not pattern.fullmatch(value):
            raise PluginError(f"{self.kind} {self.name!r}: {field} {value!r} is malformed; expected {expected}")


@dataclass(frozen=True)
class TargetSpec(Spec, ABC):
    """A spec of something that is called: ``target`` is ``"package.module:Name"``, imported on first use."""

    _: KW_ONLY
    target: str

    def check(self) -> None:
        super().check()
        self._check_reference("target", _REFERENCE, "'package.module:Name'")

    def load_target(self) -> Any:
        """Import the target: a class or function, called as the kind of spec says.

        Raises:
            TargetError: when it cannot be imported or is not callable; the message holds the cause.
        """
        target = self._load("target", self.target)
        if not callable(target):
            found = type(target).__name__
            raise TargetError(f"{self.kind} {self.name!r}: target {self.target!r} is a {found}, expected a class or function")
        return target

    def _load(self, field: str, reference: str) -> Any:
        where = f"{self.kind} {self.name!r}: {field} {reference!r}"
        module_name, _, attribute = reference.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            own = f"{module_name}.".startswith(f"{error.name}.")
            fix = f"correct the {field} of the spec" if own else f"install what provides {error.name!r}"
            raise TargetError(f"{where} cannot be imported: {error}; {fix}") from error
        except (Exception, SystemExit) as error:
            raise TargetError(f"{where} cannot be imported: {type(error).__name__}: {error}; repair or update the plugin") from error
        try:
            return getattr(module, attribute)
        except AttributeError as error:
            raise TargetError(f"{where}: module {module_name!r} has no {attribute!r}; correct the {field} of the spec") from error


@dataclass(frozen=True)
class ComponentSpec(TargetSpec, ABC):
    """A spec of something that is constructed from a validated configuration.

    ``details`` is a paragraph of Markdown for `linearizer describe` and for the cards of models that use the component: what it is, when to use it,
    what it guarantees and what it does not.
    """

    _: KW_ONLY
    config: str
    details: str = ""

    def check(self) -> None:
        super().check()
        self._check_reference("config", _REFERENCE, "'package.module:Name'")

    def load_config(self) -> type[BaseModel]:
        """Import the configuration class. Torch-free as long as the plugin keeps it so.

        Raises:
            TargetError: when it cannot be imported, is not a pydantic model, does not forbid unknown fields (a typing
                mistake would pass in silence), or has a field of a reserved name.
        """
        from pydantic import BaseModel

        config = self._load("config", self.config)
        where = f"{self.kind} {self.name!r}: config {self.config!r}"
        if not (isinstance(config, type) and issubclass(config, BaseModel)):
            raise TargetError(f"{where} is {config!r}, expected a class derived from pydantic.BaseModel")
        if config.model_config.get("extra") != "forbid":
            raise TargetError(f"{where} accepts unknown fields; give it model_config = ConfigDict(extra='forbid', frozen=True)")
        if reserved := sorted(RESERVED_FIELDS & set(config.model_fields)):
            names = ", ".join(sorted(RESERVED_FIELDS))
            raise TargetError(f"{where} has a field {reserved[0]!r}, a name the framework passes itself; rename it (reserved: {names})")
        return config


@dataclass(frozen=True)
class BackboneSpec(ComponentSpec):
    """A bijection, constructed as ``Target(in_shape, config, conditions=None) -> Bijection``.

    Example:
        >>> spec = BackboneSpec("mine", target="my_plugin.net:Net", config="my_plugin.config:NetConfig", summary="My bijection")
        >>> spec.kind, spec.api
        ('backbone', '1')
    """

    kind = "backbone"


@dataclass(frozen=True)
class OperatorSpec(ComponentSpec):
    """A learnable core, constructed as ``Target(shape, config, conditions=None) -> CoreOperator`` with ``shape = (m, n)``."""

    kind = "operator"


@dataclass(frozen=True)
class TaskSpec(ComponentSpec):
    """A task, constructed as ``Target(config) -> Task``."""

    kind = "task"


@dataclass(frozen=True)
class DatasetSpec(ComponentSpec):
    """A data source, constructed as ``Target(config) -> DataSource``."""

    kind = "dataset"


@dataclass(frozen=True)
class StudySpec(ComponentSpec):
    """A study of trained models, constructed as ``Target(config) -> Study``; run by ``linearizer study NAME MODEL``."""

    kind = "study"


@dataclass(frozen=True)
class CommandSpec(TargetSpec):
    """A command or group of commands ``linearizer NAME ...``: ``target`` is a `typer.Typer` application, imported when the command runs.

    Example:
        >>> spec = CommandSpec("moons", target="my_plugin.cli:app", summary="Half circles, bent and straightened")
        >>> spec.check()
        >>> CommandSpec("train", target="my_plugin.cli:app", summary="Mine").check()
        Traceback (most recent call last):
        linearizer_core.errors.PluginError: command 'train' is one of the core: check, collapse, ...; rename yours
    """

    kind = "command"

    def check(self) -> None:
        super().check()
        if self.name in CORE_COMMANDS:
            raise PluginError(f"command {self.name!r} is one of the core: {', '.join(sorted(CORE_COMMANDS))}; rename yours")


@dataclass(frozen=True)
class TabSpec(TargetSpec):
    """A tab of the demo, constructed as ``Target() -> Tab``.

    Example:
        >>> spec = TabSpec("orbits", target="my_plugin.demo:Orbits", summary="Turn a planet by hand")
        >>> spec.check()
        >>> spec.kind
        'tab'
    """

    kind = "tab"


@dataclass(frozen=True)
class PretrainedSpec(Spec):
    """A trained model that ships with a package: ``location`` is ``"package.module:folder"``, the folder in the artifact layout.

    Names are ``task.data`` or ``task.data-variant``.

    Example:
        >>> spec = PretrainedSpec("flow.mnist", location="linearizer_registry:flow.mnist", summary="One-step digits")
        >>> spec.check()
    """

    kind = "pretrained"

    _: KW_ONLY
    location: str

    def check(self) -> None:
        super().check()
        self._check_reference("location", _LOCATION, "'package.module:folder'")

    def _check_name(self, pattern: re.Pattern[str], expected: str) -> None:
        super()._check_name(_PRETRAINED_NAME, "'task.data' or 'task.data-variant', such as 'flow.mnist'")

    def folder(self) -> Path:
        """Where the artifact lies on disk.

        Raises:
            TargetError: when the package or the folder is missing.
        """
        from importlib.resources import files

        package, _, relative = self.location.partition(":")
        try:
            path = Path(str(files(package).joinpath(relative)))
        except (Exception, SystemExit) as error:
            raise TargetError(f"pretrained {self.name!r}: package {package!r} cannot be imported: {error}; reinstall the plugin") from error
        if not path.is_dir():
            raise TargetError(f"pretrained {self.name!r}: {path} is not a folder; reinstall the plugin, or correct {self.location!r}")
        return path


SPEC_TYPES: dict[Kind, type[Spec]] = {
    spec.kind: spec for spec in (BackboneSpec, OperatorSpec, TaskSpec, DatasetSpec, StudySpec, CommandSpec, TabSpec, PretrainedSpec)
}
"""The type of spec that each hook returns."""
