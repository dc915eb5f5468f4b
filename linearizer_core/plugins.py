"""Discovery of plugins, each in isolation: one that is broken never takes the host down. Torch-free.

Every accessor discovers on first use, so no script can forget to. Two environment variables hold comma-separated names of plugins
or of distributions: ``LINEARIZER_PLUGINS``, where set, allows only those, and ``LINEARIZER_DISABLE_PLUGINS`` blocks those.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import Distribution, distributions
from types import ModuleType
from typing import Any, Literal, cast, overload

import pluggy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from linearizer_core import __version__, hookspecs
from linearizer_core.errors import PluginError, UnknownNameError
from linearizer_core.specs import API_VERSIONS, KINDS, PLURALS, SPEC_TYPES, CommandSpec, ComponentSpec, Kind, PretrainedSpec, Spec, TabSpec, TargetSpec

ALLOW = "LINEARIZER_PLUGINS"
BLOCK = "LINEARIZER_DISABLE_PLUGINS"
GROUP = hookspecs.PROJECT
HOST = "linearizer"
"""The distribution whose names win every clash."""

State = Literal["loaded", "disabled", "failed", "incompatible", "conflict"]
ComponentKind = Literal["backbone", "operator", "task", "dataset"]
"""The kinds that a run is made of."""

_SECTION = re.compile(rf"^\s*\[\s*{GROUP}\s*\]", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class PluginStatus:
    """What became of one plugin.

    ``loaded``: all it provides can be used. ``disabled``: kept out by an environment variable. ``failed``: it raised, or handed
    over something invalid; nothing of it can be used. ``incompatible``: written for another version. ``conflict``: some of its
    names belong to another plugin; the others can be used. ``specs`` is what can be used; ``reason`` and ``fix`` say what is wrong
    and how to mend it.
    """

    name: str
    distribution: str
    version: str
    module: str
    state: State
    reason: str = ""
    fix: str = ""
    specs: tuple[Spec, ...] = field(default=())


@overload
def specs(kind: ComponentKind | Literal["study"]) -> dict[str, ComponentSpec]: ...
@overload
def specs(kind: Literal["command"]) -> dict[str, CommandSpec]: ...
@overload
def specs(kind: Literal["tab"]) -> dict[str, TabSpec]: ...
@overload
def specs(kind: Literal["pretrained"]) -> dict[str, PretrainedSpec]: ...
@overload
def specs(kind: Kind) -> dict[str, Spec]: ...
def specs(kind: Kind) -> Any:
    """All specs of one kind by name, sorted.

    Example:
        >>> sorted(specs("backbone")) == list(specs("backbone"))
        True
    """
    found = {spec.name: spec for status in _discover() for spec in status.specs if spec.kind == kind}
    return dict(sorted(found.items()))


@overload
def find(kind: ComponentKind | Literal["study"], name: str) -> ComponentSpec: ...
@overload
def find(kind: Literal["command"], name: str) -> CommandSpec: ...
@overload
def find(kind: Literal["tab"], name: str) -> TabSpec: ...
@overload
def find(kind: ComponentKind | Literal["study", "command", "tab"], name: str) -> TargetSpec: ...
@overload
def find(kind: Literal["pretrained"], name: str) -> PretrainedSpec: ...
@overload
def find(kind: Kind, name: str) -> Spec: ...
def find(kind: Kind, name: str) -> Spec:
    """The spec of one name.

    Raises:
        UnknownNameError: when no usable plugin registered it; the message holds close matches and the plugins that may have provided it.
    """
    known = specs(kind)
    if name not in known:
        raise unknown_name(name, kind)
    return known[name]


def provider(kind: Kind, name: str) -> PluginStatus:
    """The plugin that registered a name.

    Raises:
        UnknownNameError: when no usable plugin registered it.
    """
    spec = find(kind, name)
    return next(status for status in _discover() if spec in status.specs)


def statuses() -> list[PluginStatus]:
    """What became of every plugin that is installed: those of this distribution first, then by distribution and name."""
    return list(_discover())


def reload() -> None:
    """Forget what was discovered, so that the next accessor looks again: for tests, and after installing into a running process."""
    _discover.cache_clear()


def unknown_name(name: str, kind: Kind | None = None) -> UnknownNameError:
    """The error for a name that nobody registered, of one kind or of any."""
    known = sorted({known for each in (KINDS if kind is None else (kind,)) for known in specs(each)})
    message = f"there is no {kind or 'component'} named {name!r}"
    if close := difflib.get_close_matches(name.lower(), known, n=3):
        message += f"; did you mean {' or '.join(map(repr, close))}?"
    else:
        message += f"; installed: {', '.join(known) or 'none'}."
    broken = [status for status in _discover() if status.state != "loaded"]
    if unusable := [f"{status.name} ({status.state}: {status.reason})" for status in broken]:
        message += f" Plugins that are installed but not usable: {'; '.join(unusable)}."
    return UnknownNameError(f"{message} `linearizer plugins` shows what is installed; pip install the package that provides it")


@cache
def _discover() -> tuple[PluginStatus, ...]:
    found: list[PluginStatus] = []
    owners: dict[tuple[Kind, str], PluginStatus] = {}
    for candidate in _candidates():
        status = _resolve_clashes(candidate, owners)
        owners |= {(spec.kind, spec.name): status for spec in status.specs}
        found.append(status)
    return tuple(found)


def _candidates() -> Iterator[PluginStatus]:
    """Each installed plugin once, loaded as far as it lets itself be."""
    first: dict[str, Distribution] = {}
    for distribution in distributions():
        with contextlib.suppress(Exception):  # a leftover folder without readable metadata; importlib.metadata.entry_points would die of it
            if _SECTION.search(distribution.read_text("entry_points.txt") or ""):
                first.setdefault(canonicalize_name(distribution.metadata["Name"]), distribution)
    for name, distribution in sorted(first.items(), key=lambda item: (item[0] != HOST, item[0])):
        version = distribution.version if "Version" in distribution.metadata else "unknown"
        status = PluginStatus(name=name, distribution=name, version=version, module="", state="loaded")
        try:
            points = sorted(distribution.entry_points.select(group=GROUP))
            unmet = _unmet_requirement(distribution)
        except Exception as error:
            yield replace(status, state="failed", reason=f"its metadata cannot be read: {_oneline(error)}", fix=f"reinstall {name}")
            continue
        for point in points:
            yield _load(replace(status, name=point.name, module=point.value), unmet)


def _load(status: PluginStatus, unmet: str) -> PluginStatus:
    module, distribution = status.module, status.distribution
    if reason := _disabled(status):
        return replace(status, state="disabled", reason=reason, fix=f"change {ALLOW} or {BLOCK} to use it")
    newer = f"install a version of {distribution} made for {HOST} {__version__}"
    if unmet:
        return replace(status, state="incompatible", reason=f"it requires {unmet}, this is {HOST} {__version__}", fix=newer)
    had_torch = "torch" in sys.modules
    try:
        # What a plugin prints while it loads must not end up in the middle of a JSON listing.
        with contextlib.redirect_stdout(sys.stderr):
            found = _collect(_register(_import(module)))
    except (Exception, SystemExit) as error:
        reason = str(error) if isinstance(error, PluginError) else _oneline(error)
        return replace(status, state="failed", reason=reason, fix=_fix(error, status))
    if foreign := sorted({spec.api for spec in found} - set(API_VERSIONS)):
        offered = f"this is {HOST} {__version__} with interface {', '.join(API_VERSIONS)}"
        return replace(status, state="incompatible", reason=f"it is written for plugin interface {foreign[0]!r}, {offered}", fix=newer)
    if not had_torch and "torch" in sys.modules:
        slow = f"move the import of torch out of {module}, into the modules that its targets name"
        return replace(status, specs=found, reason="its hook module imports torch, which slows every listing down", fix=slow)
    return replace(status, specs=found)


def _fix(error: BaseException, status: PluginStatus) -> str:
    match error:
        case pluggy.PluginValidationError():
            return f"in {status.module}, name and sign the hooks as linearizer_core.hookspecs does"
        case PluginError():
            return f"correct {status.module}, or update {status.distribution}"
        case ModuleNotFoundError(name=str(missing)) if not f"{status.module}.".startswith(f"{missing}."):
            return f"install what provides {missing!r}"
        case ModuleNotFoundError():
            return f"reinstall {status.distribution}"
        case _:
            return f"update or uninstall {status.distribution}, or set {BLOCK}={status.name}"


def _import(module: str) -> ModuleType:
    if ":" in module:
        raise PluginError(f"its entry point names {module!r}, expected a module; write {module.partition(':')[0]!r}")
    return importlib.import_module(module)


def _register(module: ModuleType) -> pluggy.PluginManager:
    """Register one plugin with a manager of its own: if that raises, there is nothing to roll back."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginError("it implements no hook; decorate at least one hook function with linearizer_core.hookspecs.hookimpl")
    return manager


def _collect(manager: pluggy.PluginManager) -> tuple[Spec, ...]:
    """Call the hooks and check what they return."""
    collected: dict[tuple[Kind, str], Spec] = {}
    for kind, expected in SPEC_TYPES.items():
        hook = f"{GROUP}_{PLURALS[kind]}"
        for returned in getattr(manager.hook, hook)():
            if not isinstance(returned, list | tuple):
                raise PluginError(f"{hook} returned {returned!r}, expected a list of {expected.__name__}")
            for spec in cast(Sequence[Any], returned):
                if not isinstance(spec, expected):
                    raise PluginError(f"{hook} returned a list with {spec!r}, expected {expected.__name__}")
                spec.check()
                if (kind, spec.name) in collected:
                    raise PluginError(f"{hook} returned {spec.name!r} twice; names are unique")
                collected[kind, spec.name] = spec
    return tuple(collected.values())


def _resolve_clashes(status: PluginStatus, owners: dict[tuple[Kind, str], PluginStatus]) -> PluginStatus:
    taken = [spec for spec in status.specs if (spec.kind, spec.name) in owners]
    if not taken:
        return status
    holders = [f"{spec.kind} {spec.name!r} belongs to {owners[spec.kind, spec.name].distribution}" for spec in taken]
    return replace(
        status,
        state="conflict",
        reason="; ".join(holders),
        fix=f"rename it in {status.distribution}, or uninstall or disable one of the two",
        specs=tuple(spec for spec in status.specs if spec not in taken),
    )


def _disabled(status: PluginStatus) -> str:
    allowed, blocked = os.environ.get(ALLOW), os.environ.get(BLOCK, "")
    if {status.name, status.distribution} & _names(blocked):
        return f"{BLOCK}={blocked}"
    if allowed is not None and not {status.name, status.distribution} & _names(allowed):
        return f"not in {ALLOW}={allowed}"
    return ""


def _names(listed: str) -> set[str]:
    return {name.strip() for name in listed.split(",")}


def _unmet_requirement(distribution: Distribution) -> str:
    for text in distribution.requires or []:
        requirement = Requirement(text)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if canonicalize_name(requirement.name) == HOST and applies and not requirement.specifier.contains(__version__, prereleases=True):
            return f"{requirement.name}{requirement.specifier}"
    return ""


def _oneline(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
