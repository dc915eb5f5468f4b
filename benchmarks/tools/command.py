"""The command line that all benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.tools.environment import sentence, slug
from benchmarks.tools.results import Results

RUNS = Path("runs/bench")


def parser(description: str | None, *, repeats: int) -> argparse.ArgumentParser:
    """A parser with the common options. ``--worker`` is what a benchmark calls itself with, in a process of its own."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs; the figures mean nothing")
    made.add_argument("--device", default="cpu", help="cpu, or cuda where there is one")
    made.add_argument("--repeats", type=int, default=repeats, help="turns of each case")
    made.add_argument("--out", type=Path, default=RUNS, help="folder of the results")
    made.add_argument("--worker", help=argparse.SUPPRESS)
    return made


def footer(results: Results) -> str:
    """What every table ends with: environment and command."""
    quick = " `--quick`: tiny sizes; these figures mean nothing." if results.quick else ""
    return f"{sentence(results.environment)} Command: `{results.command}`.{quick}"


def save(results: Results, device: str, out: Path, text: str) -> None:
    """Write the results and show the table."""
    results.write(out, slug(device), f"{text}\n\n{footer(results)}")
    print(f"{text}\n\n{footer(results)}", flush=True)
