"""Laws of the data order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import ConfigError
from linearizer_core.training import StageSampler

sizes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 7), st.integers(1, 4))


def batches(*, examples: int, batch_size: int, start: int, stop: int, stage: int = 0, process: int = 0, processes: int = 1, pieces: int = 1) -> list[list[int]]:
    sampler = StageSampler(
        stage=stage,
        name="test",
        examples=examples,
        batch_size=batch_size,
        start=start,
        stop=stop,
        seed=7,
        process=process,
        processes=processes,
        accumulation_steps=pieces,
    )
    made = list(sampler)
    assert len(made) == len(sampler)
    return made


@settings(deadline=None, max_examples=25)
@given(batch=st.integers(1, 6), per_epoch=st.integers(1, 5), epoch=st.integers(0, 4))
def test_every_epoch_is_a_permutation(batch: int, per_epoch: int, epoch: int) -> None:
    examples = batch * per_epoch
    made = batches(examples=examples, batch_size=batch, start=epoch * per_epoch, stop=(epoch + 1) * per_epoch)
    assert sorted(index for each in made for index in each) == list(range(examples))


@settings(deadline=None, max_examples=25)
@given(size=sizes)
def test_processes_and_micro_batches_partition_the_global_batch(size: tuple[int, int, int, int, int]) -> None:
    micro, processes, pieces, extra, steps = size
    batch = micro * processes * pieces
    examples = 2 * batch + extra
    whole = batches(examples=examples, batch_size=batch, start=0, stop=steps)
    parts = [
        batches(examples=examples, batch_size=batch, start=0, stop=steps, process=process, processes=processes, pieces=pieces) for process in range(processes)
    ]
    for step, expected in enumerate(whole):
        chunks = [parts[process][step * pieces + piece] for piece in range(pieces) for process in range(processes)]
        assert [index for chunk in chunks for index in chunk] == expected
        assert {len(chunk) for chunk in chunks} == {micro}


@settings(deadline=None, max_examples=25)
@given(batch=st.integers(1, 5), extra=st.integers(0, 4), restart=st.integers(0, 12))
def test_restart_at_a_step_is_the_continuation(batch: int, extra: int, restart: int) -> None:
    examples = 3 * batch + extra
    whole = batches(examples=examples, batch_size=batch, start=0, stop=12)
    assert batches(examples=examples, batch_size=batch, start=restart, stop=12) == whole[restart:]


def test_epochs_and_stages_differ() -> None:
    first = batches(examples=64, batch_size=64, start=0, stop=2)
    assert first[0] != first[1]
    assert batches(examples=64, batch_size=64, start=0, stop=1, stage=1)[0] != first[0]


def test_batch_larger_than_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size is 11, but it trains on 10 examples; set batch_size to 10 or less"):
        batches(examples=10, batch_size=11, start=0, stop=1)


def test_uneven_split_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size 10 does not split into 4 equal parts .* use 8"):
        batches(examples=10, batch_size=10, start=0, stop=1, processes=2, pieces=2)
