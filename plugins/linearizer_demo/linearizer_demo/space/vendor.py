"""The framework as it is installed here, put into a folder that a program can import it from."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from linearizer_core import plugins
from linearizer_demo.space.requirements import OWN

_GROUP = "linearizer"
_CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")


def vendor(folder: Path, models: Collection[str]) -> None:
    """Copy the modules of the framework and of its own plugins into ``folder``, with the metadata by which plugins are discovered.

    Of the models that the plugins ship, only ``models`` are copied.
    """
    own = distribution(OWN)
    entries = [entry for entry in own.entry_points if entry.group == _GROUP]
    left = [spec.folder() for name, spec in plugins.specs("pretrained").items() if name not in models]

    def unwanted(parent: str, names: list[str]) -> set[str]:
        return _CACHES(parent, names) | {name for name in names if Path(parent, name) in left}

    for module in sorted({"linearizer_core", *(entry.value.partition(".")[0] for entry in entries)}):
        shutil.copytree(_source(module), folder / module, ignore=unwanted)
    information = folder / f"{OWN}-{own.version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {OWN}\nVersion: {own.version}\n", encoding="utf-8")
    lines = [f"[{_GROUP}]", *(f"{entry.name} = {entry.value}" for entry in sorted(entries))]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _source(module: str) -> Path:
    spec = find_spec(module)
    assert spec is not None, module
    assert spec.submodule_search_locations is not None, module
    return Path(spec.submodule_search_locations[0])
