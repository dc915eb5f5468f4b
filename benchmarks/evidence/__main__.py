"""Train and measure everything that docs/evidence shows, hours on 2 cores; what is there already is not repeated.

    python -m benchmarks.evidence DATA --weights WEIGHTS [--groups trials main ...] [--runs runs/evidence]

DATA holds MNIST's four idx files, WEIGHTS is a safetensors file of timm's tf_efficientnet_lite0. All work is done on one core each: two runs side by side
finish sooner than one after another on two cores, and disturb each other far less. First measures what a step of every recipe costs: leave the machine alone
for these minutes. Then numbers of steps are fixed, and other work only makes the rest take longer. Every run has a process of its own; one that is stopped
goes on from its last checkpoint, but the U-Net, which begins anew.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from benchmarks.evidence.budget import add_costs, measure_costs, missing, read_costs
from benchmarks.evidence.entries import RECIPES
from benchmarks.evidence.plan import GROUPS, REFERENCE, SAMPLES, SHIPPED, path_of, plan, recipes, shipped
from benchmarks.evidence.run import COSTS, FLOORS, Run, perform, perform_floors, perform_trained, record_path
from benchmarks.tools.environment import cores, environment
from linearizer_core.data import Splits
from linearizer_core.factory import create_dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with MNIST's four idx files")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors weights of tf_efficientnet_lite0")
    parser.add_argument("--groups", nargs="*", choices=GROUPS, default=GROUPS, help="which runs; all when left out")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"), help="folder of what is trained and measured")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at a time, with one core each")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if not given.weights.is_file():
        parser.error(f"--weights {given.weights} is no file; give timm's tf_efficientnet_lite0 as safetensors")
    torch.set_num_threads(1)
    splits = create_dataset("mnist", root=given.data).load()
    if given.worker:
        perform(Run(**json.loads(given.worker)), splits, given.weights, given.runs)
        return
    prepare(splits, given.weights, given.runs, [name for group in given.groups for name in recipes(group)])
    command = [sys.executable, "-m", "benchmarks.evidence", str(given.data), "--weights", str(given.weights), "--runs", str(given.runs)]

    def perform_apart(run: Run) -> str | None:
        print(f"== {run.name}", flush=True)
        return run.name if subprocess.run([*command, "--worker", json.dumps(run.__dict__)]).returncode else None

    if "main" in given.groups:
        perform_alone(splits, given.weights, given.runs)
    for group in given.groups:
        with ThreadPoolExecutor(given.jobs) as pool:
            left = [run for run in plan(group, given.runs) if not path_of(given.runs, run).exists()]
            if failed := [name for name in pool.map(perform_apart, left) if name]:
                sys.exit(f"failed: {', '.join(failed)}; what they said is above")


def prepare(splits: Splits, weights: Path, runs: Path, wanted: Sequence[str]) -> None:
    """Measure the cost of a step for every recipe that has none yet."""
    costs = read_costs(runs / COSTS)
    if names := missing(costs, [RECIPES[name].costs or name for name in wanted]):
        print(f"== costs of {len(names)} recipes", flush=True)
        facts = environment("cpu", data=splits.info.name)
        reference = (RECIPES[REFERENCE], costs[REFERENCE]) if REFERENCE in costs else None
        add_costs(runs / COSTS, measure_costs({name: RECIPES[name] for name in names}, splits, weights, reference), facts)


def perform_alone(splits: Splits, weights: Path, runs: Path) -> None:
    """What is measured without being trained here."""
    if not record_path(runs, FLOORS).exists():
        perform_floors(splits, weights, runs, SAMPLES)
    for trained in (shipped(name, split) for name in SHIPPED for split in ("validation", "test")):
        if not record_path(runs, trained.record).exists():
            print(f"== {trained.record}", flush=True)
            perform_trained(trained, splits, weights, runs)


if __name__ == "__main__":
    main()
