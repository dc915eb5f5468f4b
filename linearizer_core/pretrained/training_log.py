"""The training log of a saved model: what ``metrics.jsonl`` of its run holds, thinned so that it stays small, as one JSON object a line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from linearizer_core.errors import ArtifactError
from linearizer_core.pretrained.artifact import LARGEST_LOG, LOG, read_json_lines

LogLine = Mapping[str, float | str | None]
MOST_LINES = 500
"""Of each stage, where they fit into `LARGEST_LOG` bytes."""
_FEWER_LINES = (MOST_LINES, 250, 100, 50, 20, 10, 5, 2)
_DIGITS = 6
_LONGEST_NAME = 100


class _Line(BaseModel):
    """What a line holds; the terms of the loss and what a monitor measured have any names. None stands for what was not finite."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    __pydantic_extra__: dict[str, float | None] = Field(init=False)

    step: int = Field(ge=1)
    stage: str = Field(max_length=_LONGEST_NAME)
    stage_step: int = Field(ge=1)
    lr: float
    loss: float | None

    @model_validator(mode="after")
    def _has_names(self) -> Self:
        for name in (self.stage, *self.__pydantic_extra__):
            if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
                raise ValueError(f"a name of {len(name)} characters, expected 1 to {_LONGEST_NAME}, all of them printable")
        return self


def thinned(lines: Iterable[LogLine]) -> tuple[LogLine, ...]:
    """A log that can be saved: numbers in six significant digits, and of each stage at most `MOST_LINES` lines, the first and the last among them.

    A stage with more is cut into equal shares, and each keeps the line with most entries, the first of them: not every line has what the monitor measured.
    Where the log is larger than `LARGEST_LOG` bytes, each stage keeps fewer lines, and none where two are too many.

    Example:
        >>> log = thinned({"step": k, "stage": "flow", "stage_step": k, "lr": 0.1, "loss": 1 / k} for k in range(1, 10_001))
        >>> len(log), log[0]["step"], log[-1]["step"], log[2]["loss"]
        (500, 1, 10000, 0.0454545)
    """
    rounded = [{name: _rounded(value) for name, value in line.items()} for line in lines]
    stages = [list(stage) for _, stage in itertools.groupby(rounded, key=lambda line: line["stage"])]
    for most in _FEWER_LINES:
        log = tuple(line for stage in stages for line in _evenly(stage, most))
        if len(_as_text(log)) <= LARGEST_LOG:
            return log
    return ()


def _rounded(value: float | str | None) -> float | str | None:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _evenly(lines: Sequence[LogLine], most: int) -> Sequence[LogLine]:
    if len(lines) <= most:
        return lines
    inner, shares = lines[1:-1], most - 2
    kept = [max(inner[share * len(inner) // shares : (share + 1) * len(inner) // shares], key=len) for share in range(shares)]
    return [lines[0], *kept, lines[-1]]


def log_text(log: Sequence[LogLine]) -> str:
    """What a file of this log holds; `ArtifactError` where `read_log` would refuse it."""
    _check(log, LOG)
    text = _as_text(log)
    if len(text) > LARGEST_LOG:
        raise ArtifactError(
            f"{LOG} would have {len(text)} bytes, expected at most {LARGEST_LOG}; thin the log by linearizer_core.pretrained.training_log.thinned"
        )
    return text


def _as_text(log: Iterable[LogLine]) -> str:
    return "".join(json.dumps(dict(line)) + "\n" for line in log)


def read_log(folder: Path) -> tuple[LogLine, ...]:
    """The training log of a folder, none where there is no such file; `ArtifactError` for anything but lines as training writes them, in order of steps."""
    path = folder / LOG
    if not path.exists():
        return ()
    log = tuple(read_json_lines(path, LARGEST_LOG))
    _check(log, str(path))
    return log


def _check(log: Iterable[LogLine], where: str) -> None:
    before = 0
    for number, line in enumerate(log, 1):
        try:
            step = _Line.model_validate(line).step
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            key = ".".join(map(str, first["loc"]))[:_LONGEST_NAME]
            raise ArtifactError(f"{where}, line {number}: {key!r}: {first['msg']}; it is no line that training wrote, restore the file or delete it") from error
        if step <= before:
            raise ArtifactError(f"{where}, line {number}: step {step} follows step {before}, expected a larger one; restore the file or delete it")
        before = step
