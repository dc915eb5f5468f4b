"""Numbers as readers of findings want them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def number(value: float) -> str:
    """Two or three digits; an exponent where the number is small or large.

    Example:
        >>> number(0.0000031), number(12.34), number(123456.0), number(0.0)
        ('3.1e-06', '12.3', '1.2e+05', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.3g}" if 1e-2 <= abs(value) < 1e4 else f"{value:.1e}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "pair"), counted(1200, "pair"), counted(2, "index", "indices")
        ('1 pair', '1,200 pairs', '2 indices')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence.

    Example:
        >>> listed(["euler"]), listed(["euler", "rk4", "heun"])
        ('euler', 'euler, rk4 and heun')
    """
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
