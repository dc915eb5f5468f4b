"""How long the command line takes to answer, and that what only lists and explains does not import torch.

    python -m benchmarks.startup [--quick] [--repeats 9] [--out runs/bench]

Wall time of a process from start to end, in turns, beside an interpreter that does nothing and one that imports torch. Imports are counted in a run of
their own, with ``python -X importtime``. Writes OUT/startup.json and OUT/startup.md.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.tools import command
from benchmarks.tools.environment import environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results, Target, target_table
from benchmarks.tools.tables import ratio, spread, table
from benchmarks.tools.timing import interleaved

NAME = "startup"
NOTHING, TORCH = 'python -c "pass"', 'python -c "import torch"'
ANSWERS = (("--help",), ("--version",), ("list",), ("list", "all"), ("plugins",), ("describe", "coupling"), ("check", "--help"), ("train", "--help"))
QUICK_ANSWERS = (("--help",), ("list",))
HEAVY = "torch"
SECONDS = 1.0
RUN = ("-m", "linearizer_core.cli")


def measure(*, repeats: int, quick: bool) -> Results:
    """Everything that the table shows."""
    facts = environment("cpu", data="none")
    answers = QUICK_ANSWERS if quick else ANSWERS
    commands = {NOTHING: ("-c", "pass"), TORCH: ("-c", f"import {HEAVY}"), **{f"linearizer {' '.join(words)}": (*RUN, *words) for words in answers}}
    timed = interleaved({name: partial(start, words) for name, words in commands.items()}, repeats)
    cases: list[dict[str, Any]] = []
    for name, words in commands.items():
        modules = imported(words)
        times = {"time": timed[name], "over_nothing": timed[name].over(timed[NOTHING]), "of_torch": timed[name].over(timed[TORCH])}
        spreads = {key: values.to_dict() for key, values in times.items()}
        cases.append({"command": name, **spreads, "modules": len(modules), "torch": HEAVY in modules})
    ours = [case for case in cases if case["command"] not in (NOTHING, TORCH)]
    figures = {f"{case['command']}: imports torch": Figure(int(case["torch"]), "count") for case in ours}
    figures |= {f"{case['command']}: part of the time of importing torch": Figure(case["of_torch"]["median"], "overhead") for case in ours}
    figures |= {f"{case['command']}: seconds": Figure(case["time"]["median"], "seconds") for case in ours}
    targets = [
        Target("seconds to answer: the slowest command", SECONDS, max(case["time"]["median"] for case in ours), "at most"),
        Target("commands that import torch", 0, sum(case["torch"] for case in ours), "at most"),
    ]
    return Results(NAME, f"python -m benchmarks.{NAME}", quick, facts, {"repeats": repeats}, cases, figures, targets)


def start(words: Sequence[str]) -> None:
    """Run a fresh interpreter to its end."""
    subprocess.run([sys.executable, *words], check=True, capture_output=True)


def imported(words: Sequence[str]) -> set[str]:
    """The modules that a fresh interpreter imports."""
    done = subprocess.run([sys.executable, "-X", "importtime", *words], check=True, capture_output=True, text=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines[1:]}


def report(results: Results) -> str:
    """One row a command, and the targets."""
    header = ["command", "time", "of an empty interpreter's", "of importing torch", "modules", "torch imported"]
    rows = [_row(case) for case in results.cases]
    notes = f"Processes from start to end; median (least to most) of {results.settings['repeats']} turns, files in the system's cache."
    return "\n\n".join([table(header, rows), target_table(results.targets), notes])


def _row(case: dict[str, Any]) -> list[str]:
    cells = [spread(case["time"]), ratio(case["over_nothing"]), ratio(case["of_torch"]), f"{case['modules']:,}", "yes" if case["torch"] else "no"]
    return [f"`{case['command']}`", *cells]


def main(arguments: Sequence[str] | None = None) -> None:
    options = command.parser(__doc__, repeats=9).parse_args(arguments)
    results = measure(repeats=options.repeats, quick=options.quick)
    command.save(results, "cpu", options.out, report(results))


if __name__ == "__main__":
    main()
