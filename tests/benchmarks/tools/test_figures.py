"""Every kind of figure knows which way is worse, and how much is allowed."""

from __future__ import annotations

import math

import pytest

from benchmarks.tools.figures import RULES, Figure, Kind


@pytest.mark.parametrize(
    ("kind", "earlier", "allowed", "worse"),
    [
        ("count", 100, 100, 101),
        ("error", 1e-6, 2.9e-6, 3.1e-6),
        ("error", 0.0, 0.0, 1e-16),
        ("speedup", 1000, 501, 499),
        ("overhead", 1.0, 1.09, 1.11),
        ("memory", 0.02, 0.0249, 0.0251),
        ("exponent", 0.1, 0.39, 0.41),
        ("exponent", -0.2, 0.09, 0.11),
    ],
)
def test_a_kind_allows_so_much(kind: Kind, earlier: float, allowed: float, worse: float) -> None:
    before = Figure(earlier, kind)
    assert not Figure(earlier, kind).is_worse_than(before)
    assert not Figure(allowed, kind).is_worse_than(before)
    assert Figure(worse, kind).is_worse_than(before)
    assert Figure(math.nan, kind).is_worse_than(before)


@pytest.mark.parametrize("kind", ["seconds", "bytes"])
def test_what_the_machine_decides_is_not_judged(kind: Kind) -> None:
    assert not Figure(1e9, kind).is_worse_than(Figure(1.0, kind))


def test_what_no_machine_changes_comes_first() -> None:
    assert list(RULES)[:2] == ["count", "error"]
    assert list(RULES)[-2:] == ["seconds", "bytes"]
