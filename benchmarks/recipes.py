"""The recommended recipe beside the published objective on MNIST, at equal wall time on this machine.

    python -m benchmarks.recipes DIR [--perceptual WEIGHTS] [--runs runs] [--out docs/assets/recipes]

Trains ``configs/flow_mnist.toml`` as it stands; its training time is the budget of the published objective, whose number of steps is
chosen by timing a few. DIR holds MNIST's idx files. WEIGHTS, a safetensors file of timm's tf_efficientnet_lite0, adds a run with a
perceptual distance in place of the mean squared error.
A run that is finished already is read, not repeated; one that was interrupted goes on. Writes OUT.json and OUT.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

CALIBRATION_STEPS = 30
ROWS = {
    "steps": "steps",
    "train_seconds": "training, s",
    "parameters": "parameters",
    "frechet_one_step": "FD, one step",
    "frechet_one_step_at_temperature_0.9": "FD at 0.9",
    "frechet_loop": "FD, 100-step loop",
    "label_agreement": "label agreement",
    "one_step_vs_loop_rel_err_rk4": "collapse error, RK4",
    "inversion_psnr_db": "inversion, dB",
    "invertibility_max_abs_err": "round trip, max",
}
OUR_OPTIMISER = [
    "task.published.training.batch_size=128",
    'task.published.training.optimizer={name="adamw", lr=1e-3, betas=[0.9, 0.99], weight_decay=1e-4}',
    "task.published.training.warmup_steps=100",
    "task.published.training.hold=0.3",
    "task.published.training.clip_norm=1.0",
    "task.published.training.ema=0.998",
]
"""Batch, optimiser, schedule, clipping and average of the recommended recipe's first stage."""


def train(config: str, output: Path, data: Path, *overrides: str) -> dict[str, Any]:
    """Run one configuration, unless it ran already; return its report."""
    report = output / "report.json"
    if not report.exists():
        command = [sys.executable, "-m", "accelerate.commands.launch", "-m", "linearizer_core.training"]
        subprocess.run([*command, config, f"data.root={data}", f"training.output={output}", *overrides], check=True)
    values: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    return values


def steps_within(seconds: float, runs: Path, data: Path, name: str, *overrides: str) -> int:
    """How many steps of the published objective fit into ``seconds``, from the time of a few."""
    output = runs / f"{name}_calibration"
    shutil.rmtree(output, ignore_errors=True)
    short = [f"task.published.training.steps={CALIBRATION_STEPS}", "task.evaluation.samples=100"]
    report = train("configs/flow_mnist_published.toml", output, data, *short, *overrides)
    shutil.rmtree(output)
    return int(seconds / report["train_seconds"] * CALIBRATION_STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with MNIST's four idx files")
    parser.add_argument("--perceptual", type=Path, help="safetensors weights of tf_efficientnet_lite0")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--out", type=Path, default=Path("docs/assets/recipes"), help="results, without suffix")
    arguments = parser.parse_args()
    data, runs = arguments.data, arguments.runs

    results = {"recommended, labels": train("configs/flow_mnist.toml", runs / "flow_mnist", data)}
    results["recommended, no labels"] = train("configs/flow_mnist_unlabelled.toml", runs / "flow_mnist_unlabelled", data)
    budget = results["recommended, labels"]["train_seconds"]
    variants: dict[str, tuple[str, list[str]]] = {
        "published, MSE": ("flow_mnist_published", []),
        "published, MSE, our optimiser": ("flow_mnist_published_optimiser", OUR_OPTIMISER),
    }
    if arguments.perceptual:
        perceptual = f'task.published.perceptual={{model="tf_efficientnet_lite0", weights="{arguments.perceptual}"}}'
        variants["published, perceptual"] = ("flow_mnist_published_perceptual", [perceptual])
    for title, (name, overrides) in variants.items():
        begun = runs / name / "config.toml"
        if begun.exists():  # the number of steps is part of what a run is
            steps = tomllib.loads(begun.read_text(encoding="utf-8"))["task"]["published"]["training"]["steps"]
        else:
            steps = steps_within(budget, runs, data, name, *overrides)
        results[title] = train("configs/flow_mnist_published.toml", runs / name, data, f"task.published.training.steps={steps}", *overrides)
    write(results, arguments.out)


def write(results: dict[str, dict[str, Any]], out: Path) -> None:
    """Write the results as JSON, and as a Markdown table."""
    for values in results.values():
        values["steps"] = values["run"]["steps"]
    out.with_suffix(".json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    first = next(iter(results.values()))
    lines = ["| | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for name, label in ROWS.items():
        lines.append(f"| {label} | " + " | ".join(_cell(values.get(name)) for values in results.values()) + " |")
    run = first["run"]
    lines += [
        "",
        f"FD: Frechet distance on `{first['features']}` (accuracy {first['features_accuracy']:.4f}), {first['frechet_samples']:,} samples against "
        f"{first['frechet_reference']:,} test images; real against real {first['frechet_test_floor']:.2f}, uniform noise {first['frechet_noise']:.0f}. "
        f"Seed {run['seed']}, {run['hardware']['cpu_cores']} CPU cores ({run['hardware']['name']}), torch {run['versions']['torch']}. One seed each.",
        "",
        "Command: `python -m benchmarks.recipes DIR --perceptual WEIGHTS`.",
    ]
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.1e}" if value and abs(value) < 1e-2 else f"{value:.2f}" if value < 100 else f"{value:.0f}"
        case _:
            return f"{value:,}"


if __name__ == "__main__":
    main()
