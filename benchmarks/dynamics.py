"""Dynamics beside published figures: DeepKoopman's four systems, the pendulum of consistent Koopman autoencoders, and a system that cannot be linear.

    python -m benchmarks.dynamics [NAME ...] [--runs runs] [--out benchmarks/results]

Trains ``configs/dynamics_NAME.toml`` as they stand, one after another, in processes of their own. A run that is finished already is read, not repeated;
one that was interrupted goes on. Writes OUT/dynamics.json and OUT/dynamics.md, and the tables into docs/dynamics.md.

The published figures are those of Lusch, Kutz and Brunton (arXiv 1712.09707) and of the notebooks beside their code: 30-step prediction losses divided by
the weight they carry there, and relative errors of one step. Those of Azencot et al. (arXiv 2003.02236) are read off the figure beside their code.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.publish import insert
from benchmarks.tools.environment import environment
from benchmarks.tools.results import Results
from benchmarks.tools.tables import number, table

COMMITTED = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "dynamics.md"
SYSTEMS = ("slow_manifold", "pendulum", "fluid_on", "fluid_off", "koopmanae_pendulum", "double_well")
MOVES = ("moving_digit",)
DEEP_KOOPMAN = {
    "slow_manifold": {"prediction_mse_30": 4.3842e-8 / 0.1, "one_step_relative_mse": 1.16e-6, "total": 1.43e-7},
    "pendulum": {"prediction_mse_30": 2.6584e-8 / 0.001, "one_step_relative_mse": 1.32e-5, "total": 9.41e-8},
    "fluid_on": {"prediction_mse_30": 2.2449e-7 / 0.1, "one_step_relative_mse": 7.5e-6, "total": 5.45e-7},
    "fluid_off": {"prediction_mse_30": 9.5746e-7 / 0.1, "one_step_relative_mse": 9.2e-6, "total": 2.93e-6},
}
"""On their validation data, with the trajectories that their scripts draw."""
CONSISTENT_KOOPMAN = {"Koopman autoencoder": (0.13, 0.24), "consistent Koopman autoencoder": (0.010, 0.018)}
"""Relative error in 64 coordinates: mean over 1,000 steps, and at the last of them; from a curve, so about two digits at best."""


def train(name: str, runs: Path) -> dict[str, Any]:
    """Run one configuration, unless it ran already; its report."""
    output = runs / f"dynamics_{name}"
    report = output / "report.json"
    if not report.exists():
        command = [sys.executable, "-m", "linearizer_core.cli", "train", f"configs/dynamics_{name}.toml", f"training.output={output}"]
        subprocess.run(command, check=True)
    values: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return values


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dynamics", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*SYSTEMS, *MOVES))}; all when none is given")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=COMMITTED, help="folder of the results")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - {*SYSTEMS, *MOVES}:
        parser.error(f"no such run: {', '.join(sorted(unknown))}; there are {', '.join((*SYSTEMS, *MOVES))}")
    reports = {name: train(name, options.runs) for name in options.names or (*SYSTEMS, *MOVES)}
    text = report_text(reports)
    facts = environment("cpu", data="made from equations, and the digits inside scikit-learn")
    cases = [{"name": name, **report} for name, report in reports.items()]
    Results("dynamics", "python -m benchmarks.dynamics", False, facts, {}, cases).write(options.out, "", text)
    if options.out == COMMITTED:
        insert(PAGE, "dynamics", text)
    print(text)


def report_text(reports: dict[str, dict[str, Any]]) -> str:
    """All tables as Markdown."""
    parts = [_deep_koopman(reports), _koopmanae(reports), _flows(reports), _environment(reports)]
    return "\n\n".join(part for part in parts if part)


def _deep_koopman(reports: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name in DEEP_KOOPMAN.keys() & reports.keys():
        ours, theirs = reports[name], DEEP_KOOPMAN[name]
        measures = ("prediction_mse_30", "one_step_relative_mse")
        cells = [number(value) for measure in measures for value in (ours[measure], theirs[measure])]
        rows.append([name, *cells, number(ours["latent_relative_mse"]), number(ours["train_seconds"])])
    rows.sort(key=lambda row: list(DEEP_KOOPMAN).index(row[0]))
    heads = ["system", "30 steps, mean squared error", "theirs", "1 step, relative", "theirs", "latents, relative", "training, s"]
    return table(heads, rows) if rows else ""


def _koopmanae(reports: dict[str, dict[str, Any]]) -> str:
    if "koopmanae_pendulum" not in reports:
        return ""
    found = reports["koopmanae_pendulum"]
    rows = [["ours, from 2 coordinates", number(found["lifted_error_mean"]), number(found["lifted_error_last"])]]
    rows += [[f"{name}, from 64", number(mean), number(last)] for name, (mean, last) in CONSISTENT_KOOPMAN.items()]
    return table(["pendulum, 1,000 steps of 0.1 s", "relative error, mean", "at the last step"], rows)


def _flows(reports: dict[str, dict[str, Any]]) -> str:
    measures = ("relative_error_mean", "relative_error_last", "semigroup_max_abs_err", "backward_max_abs_err", "invertibility_max_abs_err")
    rows = [[name, *(number(report[measure]) for measure in measures), _first(report["eigenvalues"])] for name, report in reports.items()]
    heads = ["run", "relative error, mean", "at the end", "f_s f_t against f_(s+t)", "there and back", "g and back", "eigenvalues"]
    return table(heads, rows)


def _first(eigenvalues: str, count: int = 4) -> str:
    """The first of a list of eigenvalues."""
    parts = eigenvalues.split(", ")
    return ", ".join(parts[:count]) + (", ..." if len(parts) > count else "")


def _environment(reports: dict[str, dict[str, Any]]) -> str:
    run = next(iter(reports.values()))["run"]
    hardware = run["hardware"]
    return (
        f"Seed {run['seed']}, {hardware['cpu_cores']} CPU cores ({hardware['name']}), torch {run['versions']['torch']}. One seed each. "
        "Command: `python -m benchmarks.dynamics`."
    )


if __name__ == "__main__":
    main()
