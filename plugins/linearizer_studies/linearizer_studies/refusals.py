"""Numbers of what may have no result in floating point."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from linearizer_core.invertibility.round_trip import REFUSALS

T = TypeVar("T")


def unless_refused(measure: Callable[[], T], otherwise: T) -> T:
    """What ``measure`` gives; ``otherwise`` where a bijection refuses an input, as a lattice does off its range, or finds no inverse."""
    try:
        return measure()
    except REFUSALS:
        return otherwise


def or_infinite(value: float) -> float:
    """The value; infinity where it is not a number, so that a failure is the worst of all."""
    return math.inf if math.isnan(value) else value
