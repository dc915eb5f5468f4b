"""The examples in the docstrings of the benchmarks run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import benchmarks
import benchmarks.evidence
import benchmarks.tools

MODULES = sorted(
    module.name
    for package in (benchmarks, benchmarks.evidence, benchmarks.tools)
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if not module.ispkg and not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in doctest.DocTestFinder().find(module)) > 8
