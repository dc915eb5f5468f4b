"""The report of a run: one JSON file, and one table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linearizer_core.task import Report

_PIPE_WIDTH = 160


def report_values(report: Report, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What ``report.json`` holds: every metric at the top level, the time of training, the figures, and the facts of the run."""
    seconds = {"train_seconds": sum(facts["seconds"].values())} if "seconds" in facts else {}
    return {**report.metrics, **seconds, "figures": list(report.figures), "run": dict(facts)}


def print_report(values: Mapping[str, Any], notes: Mapping[str, str]) -> None:
    """Print the metrics as a table: name, value, and what it means."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("measured", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("meaning", style="dim")
    for name, value in values.items():
        if isinstance(value, int | float | str):
            table.add_row(name, _short(value), notes.get(name, ""))
    console = Console()
    # A pipe or file has no width of its own.
    (console if console.is_terminal else Console(width=_PIPE_WIDTH)).print(table)


def _short(value: int | float | str) -> str:
    match value:
        case int():
            return f"{value:,}"
        case float():
            return f"{value:.2e}" if value and not 1e-2 <= abs(value) < 1e6 else f"{value:.3f}"
        case _:
            return value
