"""The models of the registry as a table: what each is, how large, and the figures that matter most, read from its own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parents[1] / "registry" / "linearizer_registry" / "linearizer_registry" / "models"

FIGURES = {
    "flow": (
        ("frechet_one_step", "Frechet distance {:.1f}"),
        ("frechet_test_floor", "real against real {:.1f}"),
        ("pretrained_frechet_one_step", "on EfficientNet-Lite0 {:.1f}"),
        ("pretrained_frechet_test_floor", "real {:.1f}"),
        ("invertibility_max_abs_err", "round trip {:.0e}"),
    ),
    "ign": (
        ("psnr_db", "reconstruction {:.1f} dB"),
        ("idempotency_data", "f(f(x)) against f(x) {:.1g}"),
        ("frechet_prior", "Frechet distance of samples {:.1f}"),
        ("frechet_test_floor", "real against real {:.1f}"),
    ),
    "style": (("psnr_db", "{:.1f} dB to the teacher"), ("colour_psnr_db", "best map of colours {:.1f} dB"), ("destyle_max_abs_err", "undone within {:.0e}")),
    "dynamics": (
        ("psnr_db_one_turn", "one turn {:.1f} dB"),
        ("psnr_db_beyond", "beyond {:.1f} dB"),
        ("relative_error_mean", "relative error {:.2g}"),
        ("backward_max_abs_err", "there and back {:.0e}"),
    ),
}
"""By task, names of metrics and how each is told; a model that lacks one is told without it."""


def registry_table(models: Path = MODELS) -> str:
    """One row for each folder of ``models``."""
    rows = [_row(folder) for folder in sorted(models.iterdir())]
    return "\n".join(["| model | examples | parameters | size | measured |", "|---|---|---|---|---|", *rows])


def told(task: str, metrics: Mapping[str, Any]) -> str:
    """The figures that matter most for a task, in words.

    Example:
        >>> told("flow", {"frechet_one_step": 3.21, "invertibility_max_abs_err": 5e-6})
        'Frechet distance 3.2, round trip 5e-06'
    """
    return ", ".join(form.format(metrics[name]) for name, form in FIGURES[task] if name in metrics)


def _row(folder: Path) -> str:
    config, metrics = (json.loads((folder / name).read_text(encoding="utf-8")) for name in ("config.json", "metrics.json"))
    shape = " x ".join(map(str, config["data"]["shape"]))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return f"| `{folder.name}` | {shape} | {metrics['parameters']:,} | {size:.1f} MB | {told(config['model']['task']['name'], metrics)} |"
