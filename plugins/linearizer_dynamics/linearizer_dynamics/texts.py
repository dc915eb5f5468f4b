"""States and times as a user writes them. Imports no torch."""

from __future__ import annotations

import math

from linearizer_core.errors import ConfigError

LARGEST_COUNT = 100_000


def parse_times(text: str) -> list[float]:
    """``START:STOP:STEP`` with both ends, or numbers with commas between.

    Raises:
        ConfigError: for anything else, a step that does not lead from start to stop, or more than 100,000 times.

    Example:
        >>> parse_times("0:1:0.25"), parse_times("-0.5,0.1")
        ([0.0, 0.25, 0.5, 0.75, 1.0], [-0.5, 0.1])
    """
    parts = text.split(":")
    if len(parts) == 1:
        return _numbers("--times", text, "START:STOP:STEP, or numbers with commas between")
    if len(parts) != 3:
        raise ConfigError(f"--times {text}: expected START:STOP:STEP, such as 0:10:0.1")
    start, stop, step = _numbers("--times", ",".join(parts), "START:STOP:STEP, three numbers")
    if step == 0 or (stop - start) / step < 0 or (stop - start) / step >= LARGEST_COUNT:
        raise ConfigError(f"--times {text}: steps of {step:g} do not lead from {start:g} to {stop:g} in 1 to {LARGEST_COUNT:,} times; change the step")
    # A stop that is a whole number of steps away counts, whatever the rounding of the step.
    return [start + number * step for number in range(math.floor((stop - start) / step + 1e-9) + 1)]


def parse_state(text: str, size: int) -> list[float]:
    """``size`` numbers with commas between.

    Raises:
        ConfigError: for anything else.

    Example:
        >>> parse_state("1, -0.5", 2)
        [1.0, -0.5]
    """
    found = _numbers("state", text, f"{size} numbers with commas between")
    if len(found) != size:
        raise ConfigError(f"state {text}: {len(found)} numbers, expected {size}")
    return found


def _numbers(what: str, text: str, expected: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise ConfigError(f"{what} {text}: expected {expected}")
    return found
