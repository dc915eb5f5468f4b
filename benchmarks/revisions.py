"""The same work by two revisions of the code, in turns: what a change made faster or slower.

    python -m benchmarks.revisions BEFORE [AFTER] [--quick] [--repeats 5] [--out runs/bench]

BEFORE and AFTER (HEAD when left out) are anything that git resolves. Both are checked out into folders of their own; each turn of each is a process that runs
`benchmarks/tools/workload.py`, of the code that is here, against the revision. The workload uses only what both revisions have. Writes OUT/revisions.json and
OUT/revisions.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.tools import command
from benchmarks.tools.environment import environment
from benchmarks.tools.figures import Figure
from benchmarks.tools.results import Results
from benchmarks.tools.tables import ratio, spread, table
from benchmarks.tools.timing import Spread

NAME = "revisions"
ROOT = Path(__file__).parents[1]
WORKLOAD = Path(__file__).parent / "tools" / "workload.py"


def resolved(revision: str) -> tuple[str, str]:
    """The short name of a commit, and its subject.

    Raises:
        SystemExit: for what git does not know.
    """
    done = subprocess.run(["git", "log", "-1", "--format=%h%n%s", revision], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git does not know the revision {revision!r}: {done.stderr.strip()}")
    name, subject = done.stdout.splitlines()
    return name, subject


def work(folder: Path, *, quick: bool) -> dict[str, float]:
    """Seconds of each part of the workload, by the code in ``folder``."""
    paths = [folder, *sorted((folder / "plugins").iterdir())]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run([sys.executable, str(WORKLOAD), *(["--quick"] if quick else [])], cwd=folder, env=environ, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
    done.check_returncode()
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if Path(answer["code"]).parents[1] != folder.resolve():
        raise SystemExit(f"the workload ran the code in {answer['code']}, not that in {folder}")
    seconds: dict[str, float] = answer["seconds"]
    return seconds


def measure(before: str, after: str, *, repeats: int, quick: bool) -> Results:
    """Both revisions, in turns."""
    facts = environment("cpu", data="random images; random weights")
    names = {side: resolved(revision) for side, revision in (("before", before), ("after", after))}
    samples: dict[str, list[dict[str, float]]] = {"before": [], "after": []}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {side: Path(scratch) / side for side in samples}
        for side, folder in folders.items():
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(folder)], check=True)
            subprocess.run(["git", "checkout", "--quiet", names[side][0]], cwd=folder, check=True)
        for _ in range(repeats):
            for side, folder in folders.items():
                samples[side].append(work(folder, quick=quick))
                print(side, samples[side][-1], flush=True)
    cases: list[dict[str, Any]] = []
    figures: dict[str, Figure] = {}
    for part in samples["before"][0]:
        timed = {side: Spread(tuple(turn[part] for turn in turns)) for side, turns in samples.items()}
        cases.append({"part": part, **{side: spread.to_dict() for side, spread in timed.items()}, "ratio": timed["after"].over(timed["before"]).to_dict()})
        figures[f"{part}: after, seconds"] = Figure(timed["after"].median, "seconds")
    settings = {"repeats": repeats, **{side: {"commit": name, "subject": subject} for side, (name, subject) in names.items()}}
    return Results(NAME, f"python -m benchmarks.{NAME} {names['before'][0]} {names['after'][0]}", quick, facts, settings, cases, figures)


def report(results: Results) -> str:
    """One row for each part of the workload."""
    rows = [[case["part"], spread(case["before"]), spread(case["after"]), ratio(case["ratio"])] for case in results.cases]
    before, after = (results.settings[side] for side in ("before", "after"))
    notes = (
        f'Before: {before["commit"]}, "{before["subject"]}". After: {after["commit"]}, "{after["subject"]}". Sampling and training: `configs/flow_mnist.toml`. '
        f"Median (least to most) of {results.settings['repeats']} turns; a ratio below 1 is faster."
    )
    return "\n\n".join([table(["", "before", "after", "after / before"], rows), notes])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = command.parser(__doc__, repeats=5)
    parser.add_argument("before", help="a revision, such as a commit or a tag")
    parser.add_argument("after", nargs="?", default="HEAD", help="another one; HEAD when left out")
    options = parser.parse_args(arguments)
    results = measure(options.before, options.after, repeats=options.repeats, quick=options.quick)
    command.save(results, "cpu", options.out, report(results))


if __name__ == "__main__":
    main()
