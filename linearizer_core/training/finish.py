"""What follows training: the evaluation and its report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from linearizer_core.data import Splits
from linearizer_core.model import LinearizerModel
from linearizer_core.task import Report, Task
from linearizer_core.training.files import write_json

__all__ = ["finish"]


def finish(task: Task, model: LinearizerModel, splits: Splits, output: Path, facts: Mapping[str, Any]) -> Report:
    """Evaluate the trained model and write ``report.json``: the facts of the run, the metrics, and the names of the figures."""
    report = task.evaluate(model.eval(), splits, output)
    write_json(output / "report.json", {"run": dict(facts), "metrics": report.metrics, "figures": list(report.figures)})
    return report
