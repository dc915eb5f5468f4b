"""Cases take turns, and ratios are taken turn by turn."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from benchmarks.tools import timing
from benchmarks.tools.timing import Spread, interleaved


def test_cases_take_turns_after_one_call_each() -> None:
    called: list[str] = []
    timed = interleaved({"a": lambda: called.append("a"), "b": lambda: called.append("b")}, 3)
    assert called == ["a", "b", *("a", "b") * 3]
    assert {name: len(values.samples) for name, values in timed.items()} == {"a": 3, "b": 3}


def test_without_warm_up_every_call_is_timed() -> None:
    called: list[str] = []
    assert len(interleaved({"a": lambda: called.append("a")}, 2, warm_up=False)["a"].samples) == len(called) == 2


def test_short_cases_are_called_often_and_told_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    called: list[int] = []
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    timed = interleaved({"a": lambda: called.append(1)}, 2, least_seconds=4.0)
    assert len(called) == 2 + 2 * 4
    assert timed["a"].samples == (0.25, 0.25)


def test_a_spread_tells_median_and_ends_and_pairs_its_ratios() -> None:
    slow, fast = Spread((4.0, 9.0, 2.0)), Spread((2.0, 3.0, 2.0))
    assert (slow.median, slow.least, slow.most) == (4.0, 2.0, 9.0)
    assert slow.over(fast).samples == (2.0, 3.0, 1.0)
    assert fast.times(2).inverse().samples == (0.25, 1 / 6, 0.25)
    assert slow.to_dict() == {"median": 4.0, "least": 2.0, "most": 9.0, "samples": [4.0, 9.0, 2.0]}
