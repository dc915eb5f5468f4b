"""A complete plugin distribution from templates: what `linearizer new` writes. Torch-free."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, StrictUndefined

from linearizer_core import __version__, plugins
from linearizer_core.errors import ConfigError

PluginKind = Literal["backbone", "operator", "task"]
"""The kinds that templates exist for."""

PLUGIN_KINDS: tuple[PluginKind, ...] = get_args(PluginKind)

FIRST_FILES: dict[str, str] = {"backbone": "brick.py", "operator": "core.py", "task": "task.py"}
"""The module of each kind that an author changes first."""

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_SUFFIX = ".j2"
_MODULE = "module"


def new_plugin(kind: str, name: str, parent: Path) -> Path:
    """Write the distribution ``linearizer-NAME`` into a new folder inside ``parent``, and return that folder.

    It holds a component that works, its options, its hook, a test that runs the conformance kit and a run configuration that trains with it.
    The folder appears complete or not at all.

    Args:
        kind: what the plugin adds: backbone, operator or task.
        name: the registered name, lower-case words joined by ``_``.
        parent: an existing folder.

    Raises:
        ConfigError: for an unknown kind, a malformed name, a name that is taken, or a folder that exists already or cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as parent:
        ...     folder = new_plugin("backbone", "swirl", Path(parent))
        ...     print(folder.name, sorted(path.name for path in folder.iterdir()))
        linearizer-swirl ['README.md', 'linearizer_swirl', 'pyproject.toml', 'tests', 'train.toml']
    """
    _check(_kind(kind), name)
    module = f"linearizer_{name}"
    folder = parent / module.replace("_", "-")
    values = {
        "kind": kind,
        "name": name,
        "module": module,
        "distribution": folder.name,
        "title": "".join(word.capitalize() for word in name.split("_")),
        "version": __version__,
    }
    try:
        if not parent.is_dir():
            raise ConfigError(f"{parent} is not a folder; make it first, or choose another one with --into")
        if folder.exists():
            raise ConfigError(f"{folder} exists already; choose another name, or another folder with --into")
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{folder.name}-") as temporary:
            written = Path(temporary) / folder.name
            for origin in ("common", kind):
                _render(files("linearizer_core") / "templates" / "new" / origin, written, values)
            os.rename(written, folder)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another name, or another folder with --into") from error
    return folder


def _kind(given: str) -> PluginKind:
    for kind in PLUGIN_KINDS:
        if kind == given:
            return kind
    raise ConfigError(f"there is no template for {given!r}; kinds: {', '.join(PLUGIN_KINDS)}")


def _check(kind: PluginKind, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name {name!r} is malformed; expected lower-case words joined by _, such as 'swirl' or 'fourier_mixing'")
    if name in plugins.specs(kind):
        owner = plugins.provider(kind, name)
        raise ConfigError(f"{kind} {name!r} exists already, in {owner.distribution}; two plugins with one name conflict: choose another name")
    if importlib.util.find_spec(f"linearizer_{name}") is not None:
        raise ConfigError(f"a package linearizer_{name} is installed already; choose another name")


def _render(origin: Traversable, target: Path, values: dict[str, str]) -> None:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    target.mkdir(exist_ok=True)
    for entry in origin.iterdir():
        if entry.is_dir():
            _render(entry, target / (values["module"] if entry.name == _MODULE else entry.name), values)
        elif entry.name.endswith(_SUFFIX):
            text = environment.from_string(entry.read_text(encoding="utf-8")).render(values)
            (target / entry.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
