"""What a call of ``make gpu`` leaves to read: ``summary.json``, and a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.registry_table import FIGURES, MODELS, told
from registry.gpu.jobs import Job, Place, Training
from registry.gpu.schedule import Outcome

Entry = dict[str, Any]


def entry(job: Job, outcome: Outcome, place: Place, *, before: Mapping[str, Any]) -> Entry:
    """What is known of a job: its outcome, and the facts and figures of its run; seconds add up over calls."""
    made: Entry = {
        "name": job.name,
        "state": outcome.state,
        "why": outcome.why,
        "seconds": round(before.get("seconds", 0.0) + outcome.seconds, 1),
        "expected_seconds": job.seconds,
    }
    return made | (_run(job, place) if isinstance(job, Training) else {})


def _run(job: Training, place: Place) -> Entry:
    folder = job.folder(place)
    if not (folder / "report.json").exists():
        return {}
    report = read(folder / "report.json")
    task = read(folder / "model" / "config.json")["model"]["task"]["name"]
    registered = place.models / job.becomes if job.becomes and job.done(place) else None
    measured = report if registered is None else read(registered / "metrics.json")
    facts: Entry = {
        "steps_per_second": round(report["run"]["steps"] / report["train_seconds"], 2),
        "train_seconds": round(report["train_seconds"], 1),
        "hardware": report["run"]["hardware"]["name"],
        "peak_memory": report["run"].get("peak_memory"),
        "seed": report["run"]["seed"],
        "task": task,
        "measured": {name: measured[name] for name, _ in FIGURES[task] if name in measured},
    }
    if job.becomes is None:
        return facts
    size = sum(path.stat().st_size for path in registered.iterdir()) if registered else None
    committed = MODELS / job.becomes / "metrics.json"
    known = read(committed) if committed.exists() else {}
    return {**facts, "becomes": job.becomes, "bytes": size, "in_the_registry": {name: known[name] for name in facts["measured"] if name in known}}


def table(entries: Iterable[Entry]) -> str:
    """One row for each job, in Markdown."""
    rows = ["| job | state | seconds | steps a second | peak memory, MiB | measured | in the registry now |", "|---|---|---|---|---|---|---|"]
    for each in entries:
        steps, memory = (each.get(name) for name in ("steps_per_second", "peak_memory"))
        figures = [told(each["task"], each.get(name, {})) if "task" in each else "" for name in ("measured", "in_the_registry")]
        cells = [each["name"], each["state"], f"{each['seconds']:.0f}", f"{steps:.1f}" if steps else "-", f"{memory / 2**20:,.0f}" if memory else "-"]
        rows.append("| " + " | ".join([*cells, *(figure or "-" for figure in figures)]) + " |")
    return "\n".join(rows)


def read(path: Path) -> Any:
    """A file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))
