"""The schedule is a pure function of the step, with the values its formula gives."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.config import StageConfig
from linearizer_core.training import averaging_decay, learning_rate


def config(**values: object) -> StageConfig:
    return StageConfig.model_validate({"steps": 100, "batch_size": 1, "optimizer": {"lr": 2.0}, **values})


def test_warm_up_hold_and_cosine() -> None:
    made = config(warmup_steps=10, hold=0.3, final_lr_fraction=0.1)
    assert learning_rate(made, 0) == pytest.approx(0.2)
    assert learning_rate(made, 4) == pytest.approx(1.0)
    assert [learning_rate(made, step) for step in (9, 20, 29)] == [2.0, 2.0, 2.0]
    assert learning_rate(made, 64) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert learning_rate(made, 99) == pytest.approx(0.2)


def test_hold_to_the_end_is_constant() -> None:
    assert {learning_rate(config(hold=1.0), step) for step in range(100)} == {2.0}


@settings(deadline=None, max_examples=25)
@given(steps=st.integers(1, 50), warmup=st.integers(0, 20), hold=st.floats(0, 1), floor=st.floats(0, 1))
def test_rate_stays_in_range_and_falls_after_warm_up(steps: int, warmup: int, hold: float, floor: float) -> None:
    made = config(steps=steps, warmup_steps=warmup, hold=hold, final_lr_fraction=floor)
    rates = [learning_rate(made, step) for step in range(steps)]
    assert all(0 <= rate <= 2.0 + 1e-12 for rate in rates)
    falling = rates[max(warmup - 1, 0) :]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(falling))


def test_averaging_decay() -> None:
    assert averaging_decay(0.9, 50, 0) == 0.0
    assert averaging_decay(0.9, 50, 50) == 0.5
    assert averaging_decay(0.9, 50, 450) == 0.9
    assert averaging_decay(0.9, 50, 10_000) == 0.9
