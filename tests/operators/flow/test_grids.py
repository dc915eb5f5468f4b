from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import ConfigError
from linearizer_core.operators.flow import TERMINALS, Terminal, grid_times, time_grid


def test_the_three_rules() -> None:
    assert TERMINALS == ("early", "last_step", "limit")
    assert time_grid(100).dtype == torch.float64
    assert (len(time_grid(100)), float(time_grid(100)[-1])) == (100, 0.99)
    for terminal in ("last_step", "limit"):
        assert (len(time_grid(1000, terminal)), float(time_grid(1000, terminal)[-1])) == (1001, 1.0)
    assert time_grid(1, "limit").tolist() == [0.0, 1.0]


@settings(deadline=None, max_examples=50)
@given(steps=st.integers(2, 300), start=st.floats(0, 0.8), width=st.floats(0.01, 0.2), terminal=st.sampled_from(TERMINALS))
def test_partial_grids_have_equal_steps_and_exact_ends(steps: int, start: float, width: float, terminal: Terminal) -> None:
    stop = start + width
    grid = time_grid(steps, terminal, start=start, stop=stop)
    assert float(grid[0]) == start
    if terminal == "early":
        assert len(grid) == steps
        assert float(grid[-1]) == pytest.approx(stop - width / steps, rel=1e-12)
    else:
        assert (len(grid), float(grid[-1])) == (steps + 1, stop)
    assert torch.allclose(grid.diff(), torch.full_like(grid[1:], width / steps), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("steps", "terminal", "start", "stop", "message"),
    [
        (1, "early", 0.0, 1.0, "1 steps, expected at least 2; the rule 'early' leaves the last one out"),
        (0, "limit", 0.0, 1.0, "0 steps, expected at least 1"),
        (3, "early", 0.0, 1.5, "stop 1.5, expected 0 <= start < stop <= 1"),
        (3, "early", -0.1, 0.5, "start is -0.1"),
        (3, "limit", 0.5, 0.5, "expected 0 <= start < stop"),
        (3, "late", 0.0, 1.0, "terminal is 'late', expected one of: early, last_step, limit"),
    ],
)
def test_what_is_refused(steps: int, terminal: Terminal, start: float, stop: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        time_grid(steps, terminal, start=start, stop=stop)


@pytest.mark.parametrize("grid", [[0.0], [], [0.0, 0.5, 0.5], [0.5, 0.2], [0.0, float("nan")], [[0.0, 1.0]]])
def test_grids_that_are_none_are_refused(grid: list[float]) -> None:
    with pytest.raises(ConfigError, match="at least two increasing times; time_grid makes one"):
        grid_times(torch.tensor(grid))
