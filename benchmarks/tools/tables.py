"""Markdown tables, and how numbers look in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.tools.memory import MEBI

EXTRAPOLATED = " [x]"
MISSING = "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Example:
        >>> print(table(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    return "\n".join(["| " + " | ".join(header) + " |", "|" + "---|" * len(header), *("| " + " | ".join(row) + " |" for row in rows)])


def seconds(value: float) -> str:
    """Seconds with a unit.

    Example:
        >>> seconds(0.00042), seconds(0.0153), seconds(2.5), seconds(2200.0)
        ('0.42 ms', '15.3 ms', '2.50 s', '2,200 s')
    """
    if value < 1:
        return f"{1e3 * value:.2f} ms" if value < 0.01 else f"{1e3 * value:.1f} ms"
    return f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def spread(values: dict[str, Any], *, extrapolated: bool = False) -> str:
    """Median seconds, and the least and the most in brackets."""
    return marked(f"{seconds(values['median'])} ({seconds(values['least'])} to {seconds(values['most'])})", extrapolated)


def ratio(values: dict[str, Any], *, extrapolated: bool = False) -> str:
    """The median of a ratio, and its least and most in brackets."""
    return marked(f"{number(values['median'])} ({number(values['least'])} to {number(values['most'])})", extrapolated)


def number(value: float) -> str:
    """Three digits.

    Example:
        >>> number(0.1234), number(1.034), number(73.2), number(12345.0)
        ('0.123', '1.03', '73.2', '12,345')
    """
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def mebibytes(value: float, *, extrapolated: bool = False) -> str:
    """Bytes as MiB.

    Example:
        >>> mebibytes(2**20), mebibytes(3000 * 2**20, extrapolated=True)
        ('1.0', '3,000 [x]')
    """
    size = value / MEBI
    return marked(f"{size:,.0f}" if size >= 100 else f"{size:.1f}", extrapolated)


def error(value: float | None) -> str:
    """A relative error, with two digits."""
    return MISSING if value is None else f"{value:.1e}"


def marked(text: str, extrapolated: bool) -> str:
    """The text, with the mark of what was extrapolated, not measured."""
    return text + EXTRAPOLATED if extrapolated else text
