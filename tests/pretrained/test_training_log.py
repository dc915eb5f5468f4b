"""The training log: thinned so that it stays small, saved and loaded with the model."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.config import CollapseConfig
from linearizer_core.errors import ArtifactError
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import LARGEST_LOG
from linearizer_core.pretrained.training_log import MOST_LINES, LogLine, log_text, read_log, thinned

from .saved import LOG, small


def logged(lengths: list[int], terms: int = 1) -> list[LogLine]:
    """Stages of so many lines, each with so many terms; the monitor measured at every 50th step."""
    lines: list[LogLine] = []
    for number, length in enumerate(lengths):
        for k in range(1, length + 1):
            line: dict[str, float | str | None] = {"step": len(lines) + 1, "stage": f"stage {number}", "stage_step": k, "lr": 1 / 3, "loss": 2 / (3 * k)}
            lines.append(line | {f"term {term}": -1 / (7 + k) for term in range(terms)} | ({"monitor_gain": 1.5} if k % 50 == 0 else {}))
    return lines


@given(st.lists(st.integers(1, 1200), min_size=1, max_size=3), st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_thinned_logs_are_small_in_order_and_keep_both_ends_of_each_stage(lengths: list[int], terms: int) -> None:
    lines = logged(lengths, terms)
    log = thinned(lines)
    assert len(log_text(log)) <= LARGEST_LOG
    steps = [line["step"] for line in log]
    assert steps == sorted(set(steps), key=float)
    for number, length in enumerate(lengths):
        kept = [line["stage_step"] for line in log if line["stage"] == f"stage {number}"]
        assert (kept[0], kept[-1]) == (1, length)
        assert len(kept) <= min(length, MOST_LINES)
    originals = {line["step"]: line for line in lines}
    for line in log:
        assert line.keys() == originals[line["step"]].keys()
        assert all(value == pytest.approx(originals[line["step"]][name], rel=5e-6) for name, value in line.items() if name != "stage")
    assert thinned(log) == log


def test_what_the_monitor_measured_is_kept_and_lines_are_evenly_spaced() -> None:
    log = thinned(logged([10_000]))
    steps = [int(line["stage_step"] or 0) for line in log]
    assert len(log) == MOST_LINES
    assert [step for step in steps if step % 50 == 0] == list(range(50, 10_001, 50))
    assert max(after - before for before, after in itertools.pairwise(steps)) <= 2 * 10_000 / (MOST_LINES - 2)


def test_short_logs_lose_digits_only() -> None:
    (line,) = thinned([{"step": 1, "stage": "flow", "stage_step": 1, "lr": 1 / 3, "loss": None, "rank": 1234567}])
    assert line == {"step": 1, "stage": "flow", "stage_step": 1, "lr": 0.333333, "loss": None, "rank": 1234567}


def test_logs_of_many_terms_keep_fewer_lines_and_none_where_two_are_too_many() -> None:
    assert [len(thinned(logged([lines], terms))) for lines, terms in ((1000, 10), (600, 50), (60, 400), (3, 9000))] == [500, 100, 20, 0]


def test_a_log_comes_back_and_a_second_generation_is_the_same(tmp_path: Path) -> None:
    folder = small().save_pretrained(tmp_path / "saved")
    loaded = Pretrained.from_pretrained(folder)
    assert loaded.log == read_log(folder) == LOG
    again = loaded.save_pretrained(tmp_path / "again")
    assert (again / "training.jsonl").read_bytes() == (folder / "training.jsonl").read_bytes()
    assert loaded.compact().log == loaded.collapsed(CollapseConfig(steps=3, rank=1)).log == LOG


def test_a_folder_of_before_has_no_log(tmp_path: Path) -> None:
    folder = replace(small(), log=()).save_pretrained(tmp_path / "saved")
    assert not (folder / "training.jsonl").exists()
    assert Pretrained.from_pretrained(folder).log == ()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (({**LOG[0], "loss": float("nan")},), "training.jsonl, line 1: 'loss': Input should be a finite number"),
        ((*LOG, LOG[0]), "line 4: step 10 follows step 30"),
        (tuple(logged([3000])), "training.jsonl would have .* bytes, expected at most 204800; thin the log"),
    ],
)
def test_logs_that_could_not_be_loaded_are_not_saved(tmp_path: Path, log: tuple[LogLine, ...], message: str) -> None:
    folder = small().save_pretrained(tmp_path / "saved")
    with pytest.raises(ArtifactError, match=message):
        replace(small(), log=log).save_pretrained(folder)
    assert [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()] == list(LOG)
