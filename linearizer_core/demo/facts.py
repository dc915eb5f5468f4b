"""What facts are made of: a clock, and numbers in the words of a visitor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

import torch

Value = TypeVar("Value")

_ENOUGH = 0.1


def clocked(call: Callable[[], Value], repeats: int = 1) -> tuple[Value, float]:
    """What ``call`` gives, and the median of its seconds over some repeats, fewer where it takes long; work of a GPU is waited for."""
    seconds: list[float] = []
    while len(seconds) < repeats and sum(seconds) < _ENOUGH:
        start = time.perf_counter()
        found = call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return found, median(seconds)


def duration(seconds: float) -> str:
    """Two digits or more, in milliseconds or seconds.

    Example:
        >>> duration(0.0000123), duration(0.0412), duration(2.31), duration(128.4)
        ('0.012 ms', '41 ms', '2.3 s', '128 s')
    """
    value, unit = (1000 * seconds, "ms") if seconds < 0.9995 else (seconds, "s")
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.2g} {unit}"


def digits(value: float) -> str:
    """Two or three digits; an exponent where the number is small or large.

    Example:
        >>> digits(0.0000031), digits(12.34), digits(0.0)
        ('3.1e-06', '12.3', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"


def decibels(value: float) -> str:
    """A PSNR.

    Example:
        >>> decibels(31.416), decibels(math.inf)
        ('31.4 dB', 'no difference at all')
    """
    return "no difference at all" if value == math.inf else f"{value:.1f} dB"
