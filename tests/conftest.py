"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from linearizer_core import plugins


def pytest_configure() -> None:
    """Give each of several processes of tests one core, and with it all processes that they start: threads of two that share a core wait for each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if worker and hasattr(os, "sched_setaffinity"):  # Linux
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})


@dataclass(frozen=True)
class PluginSite:
    """A folder on ``sys.path`` into which tests install distributions, as pip would leave them: modules next to a ``.dist-info``."""

    folder: Path

    def install(
        self,
        distribution: str,
        source: str | None,
        *,
        module: str = "",
        plugin: str = "",
        version: str = "1.0",
        requires: tuple[str, ...] = (),
        entry_points: str | None = None,
    ) -> None:
        """Write one distribution whose plugin is the module ``source``; None leaves the module out."""
        module = module or f"fake_{distribution}"
        info = self.folder / f"{distribution}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}", *(f"Requires-Dist: {each}" for each in requires)]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(entry_points or f"[linearizer]\n{plugin or distribution} = {module}\n")
        if source is not None:
            (self.folder / f"{module}.py").write_text(source)
        importlib.invalidate_caches()
        plugins.reload()

    def install_host(self, source: str) -> None:
        """Put a plugin of the distribution ``linearizer`` itself in front of the real ones."""
        self.install("linearizer", source, module="fake_host", plugin="builtin")


@pytest.fixture
def plugin_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginSite]:
    """A site with one working plugin of the host distribution (a dataset ``builtin_data``) and none of the real ones."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv(plugins.ALLOW, raising=False)
    monkeypatch.delenv(plugins.BLOCK, raising=False)
    before = set(sys.modules)
    site = PluginSite(folder)
    site.install_host(hook_source("dataset", "builtin_data"))
    yield site
    for name in set(sys.modules) - before:
        if name.startswith("fake_"):
            del sys.modules[name]
    plugins.reload()


def hook_source(kind: str, *names: str, target: str = "fake_builtin:Thing", config: str = "fake_builtin:Config", api: str = "1") -> str:
    """The source of a hook module that hands over one spec per name."""
    spec = f"{kind.capitalize()}Spec"
    specs = ", ".join(f"{spec}({name!r}, target={target!r}, config={config!r}, summary='one', api={api!r})" for name in names)
    return (
        "from linearizer_core.hookspecs import hookimpl\n"
        f"from linearizer_core.specs import {spec}\n"
        "@hookimpl\n"
        f"def linearizer_{kind}s():\n"
        f"    return [{specs}]\n"
    )


@pytest.fixture(name="hook_source")
def hook_source_fixture() -> object:
    """`hook_source` for test modules: under importlib mode they cannot import this file."""
    return hook_source
