"""Everything that wants a GPU, most valuable first: `make gpu DATA=DIR`.

    python -m registry.gpu --data DIR [--minutes 25] [--jobs 5] [--only NAME ...] [--runs runs/gpu] [--device cuda] [--list]

DIR holds folders mnist, cifar10, emoji64 and style, and efficientnet_lite0.safetensors; a job whose data are missing is left out, and a line tells what to
fetch.
Nothing is downloaded. Each job has a run folder in RUNS and a log in RUNS/logs. Call it again to go on: what is done stays done, and a training goes on from
its last checkpoint. RUNS/models holds models in the form of the registry, RUNS/bench what `python -m benchmarks.publish --runs RUNS` publishes, and
RUNS/summary.json the facts and figures of all jobs. The exit code is 1 where a job failed.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from linearizer_core.files import write_json
from registry.gpu.jobs import FETCH, Job, Place
from registry.gpu.listed import JOBS
from registry.gpu.schedule import Outcome, Schedule
from registry.gpu.summary import entry, read, table


def main(arguments: Sequence[str] | None = None, jobs: Sequence[Job] = JOBS) -> int:
    """The command."""
    options = _parser().parse_args(arguments)
    named = {job.name: job for job in jobs}
    if unknown := [name for name in options.only if name not in named]:
        print(f"no such job: {', '.join(unknown)}; there are {', '.join(named)}", file=sys.stderr)
        return 2
    place = Place(data=options.data.resolve(), runs=options.runs.resolve(), device=options.device)
    if not place.data.is_dir():
        print(f"--data {options.data} is no folder; give the one that holds {', '.join(FETCH)}", file=sys.stderr)
        return 2
    chosen = [named[name] for name in options.only] or list(jobs)
    if options.list:
        print("\n".join(_line(job, place) for job in chosen))
        return 0
    if options.device.startswith("cuda") and not _has_gpu():
        print("torch sees no GPU here; give --device cpu to try it on the CPU", file=sys.stderr)
        return 2

    written = place.runs / "summary.json"
    entries = {each["name"]: each for each in read(written)["jobs"]} if written.exists() else {}

    def ended(outcome: Outcome) -> None:
        entries[outcome.name] = entry(named[outcome.name], outcome, place, before=entries.get(outcome.name, {}))
        write_json(written, {"jobs": [entries[name] for name in named if name in entries]})

    outcomes = Schedule(place, seconds=60 * options.minutes, at_once=options.jobs, wanted=frozenset(options.only), ended=ended).run(chosen)
    print("\n" + table(entries[outcome.name] for outcome in outcomes))
    if made := [entries[outcome.name]["becomes"] for outcome in outcomes if outcome.state == "done" and "becomes" in entries[outcome.name]]:
        print("\nTo put a model that is better than the committed one into the registry:")
        print("\n".join(f"  rsync -a --delete {place.models / name} registry/linearizer_registry/linearizer_registry/models/" for name in made))
    return int(any(outcome.state == "failed" for outcome in outcomes))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m registry.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--minutes", type=float, default=25.0, help="time for everything")
    parser.add_argument("--jobs", type=int, default=5, help="how many share the GPU")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these jobs, in this order, though they may not fit into the time")
    parser.add_argument("--runs", type=Path, default=Path("runs/gpu"), help="folder of the results")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try it")
    parser.add_argument("--list", action="store_true", help="tell what there is to do, and do nothing")
    return parser


def _line(job: Job, place: Place) -> str:
    if job.done(place):
        return f"{job.name}: done"
    missing = [f"missing {place.data / need}: {FETCH[need]}" for need in job.needs if not (place.data / need).exists()]
    return f"{job.name}: about {job.rest(place):.0f} s" + "".join(f"; {each}" for each in missing)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    # A request to end is an interrupt too, which stops what runs. In the background of a shell interrupts are ignored, here and in processes started from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
