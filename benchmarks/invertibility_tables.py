"""The results of `benchmarks.invertibility` as Markdown."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from benchmarks.published_backbone import LEARNING_RATE

FAMILIES = ("data", "gaussian", "uniform", "saturated", "constant", "adversarial")
STATES = ("trained", "unit gain", "initialised")
PRECISIONS = ("fp32", "bf16 conditioners", "fp64")
TARGET = 1e-5
TARGET_DEPTH = 16
Cell = dict[str, Any]

_OVER_ALL = "Largest round-trip error over all families of inputs, in units of the pixel range: float32 / bfloat16 conditioners / float64."


def write_tables(results: list[Cell], output: Path) -> None:
    """``invertibility.md``, and ``numerics-NAME.md`` for each registered backbone."""
    (output / "invertibility.md").write_text(overview(results) + "\n", encoding="utf-8")
    for family in sorted({_family(cell) for cell in results} - {"published design"}):
        (output / f"numerics-{family}.md").write_text(excerpt(results, family) + "\n", encoding="utf-8")


def overview(results: list[Cell]) -> str:
    """One table for each state at the target's depth, and one over depths and precisions."""
    depth = TARGET_DEPTH if any(cell["depth"] == TARGET_DEPTH for cell in results) else max(cell["depth"] for cell in results)
    blocks = []
    for state in STATES:
        chosen = [cell for cell in results if cell["state"] == state and cell["depth"] == depth]
        if chosen:
            head = f"**{state.capitalize()}, depth {depth}, float32.** Largest round-trip error by family of inputs, in units of the pixel range."
            blocks.append(f"{head}\n\n{_by_family(chosen)}")
    trained = [cell for cell in results if cell["state"] == STATES[0]]
    if trained:
        blocks.append(f"**Trained, over depth and precision.** {_OVER_ALL}\n\n{_over_depth(trained)}")
    return "\n\n".join([*blocks, source(results)])


def excerpt(results: list[Cell], family: str) -> str:
    """The rows of one backbone and its variants."""
    chosen = [cell for cell in results if _family(cell) == family]
    return f"{_OVER_ALL}\n\n{_over_depth(chosen)}\n\n{source(results)}"


def source(results: list[Cell]) -> str:
    """What the numbers come from."""
    settings = results[0]["settings"]
    return (
        f"Families: {settings['examples']} test images, {settings['far_off']} each of Gaussian noise, uniform noise, saturated and constant images, and "
        f"{settings['searched']} searched for by gradient ascent. Trained: {settings['steps']} steps of {settings['batch_size']} on {settings['data']}, "
        f"AdamW at 1e-3 (the published design at its own {LEARNING_RATE:g}: at 1e-3 it diverges); "
        f"unit gain: random weights, conditioners of median gain 1. Iterative inverses: a fifth of all these counts. "
        f"Lattice: inputs on its lattice. Seed {settings['seed']}, {os.cpu_count()} CPU cores, torch {torch.__version__}. "
        f"Command: `python -m benchmarks.invertibility{' DIR' if settings['data'] == 'mnist' else ''}`."
    )


def worst(cell: Cell, precision: str = "fp32") -> float | None:
    """The largest round-trip error over all families; None where one could not be measured."""
    trips = cell.get("precisions", {}).get(precision, {}).get("round_trip", {})
    errors = [float(trips[name]["maximum"]) for name in FAMILIES if "maximum" in trips.get(name, {})]
    return max(errors) if len(errors) == len(FAMILIES) else None


def _by_family(cells: list[Cell]) -> str:
    head = ["data, median", *FAMILIES, "latents", "gain, g / g^-1", "log-det", "time, g^-1 / g", f"at most {TARGET:.0e}", "fit, MSE"]
    lines = ["| backbone | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for cell in cells:
        found = cell.get("precisions", {}).get("fp32", {})
        trips, gain, logdet = found.get("round_trip", {}), found.get("gain", {}), found.get("logdet")
        row = [_number(trips.get("data", {}).get("median")), *(_number(trips.get(name, {}).get("maximum")) for name in FAMILIES)]
        row.append(_number(found.get("latents", {}).get("maximum")))
        row.append(f"{_short(gain.get('forward'))} / {_short(gain.get('inverse'))}")
        row.append(_number(logdet.get("maximum")) if logdet else "-")
        row.append(_short(found["inverse_seconds"] / found["forward_seconds"]) if "inverse_seconds" in found else "-")
        error = worst(cell)
        row.append("no" if error is None or error > TARGET else "exact" if error == 0 else "yes")
        row.append(f"{cell['reconstruction']:.3f}" if isinstance(cell.get("reconstruction"), float) else "-")
        lines.append(f"| {cell['backbone']}{_remark(cell)} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _over_depth(results: list[Cell]) -> str:
    depths = sorted({cell["depth"] for cell in results})
    lines = ["| backbone | weights | " + " | ".join(f"depth {depth}" for depth in depths) + " |", "|---" * (len(depths) + 2) + "|"]
    for state in STATES:
        for name in dict.fromkeys(cell["backbone"] for cell in results if cell["state"] == state):
            cells = {cell["depth"]: cell for cell in results if (cell["backbone"], cell["state"]) == (name, state)}
            row = [" / ".join(_number(worst(cells[depth], precision)) for precision in PRECISIONS) if depth in cells else "" for depth in depths]
            lines.append(f"| {name} | {state} | " + " | ".join(row) + " |")
    return "\n".join(lines)


def _family(cell: Cell) -> str:
    return str(cell["backbone"]).split(",")[0]


def _remark(cell: Cell) -> str:
    """How long it trained, where that is not what the settings say."""
    if cell.get("diverged"):
        return f" (diverged at step {cell['steps']})"
    return f" ({cell['steps']} steps)" if cell.get("steps", cell["settings"]["steps"]) != cell["settings"]["steps"] else ""


def _number(value: float | str | None) -> str:
    """JSON spells infinities as strings."""
    if value is None:
        return "-"
    number = float(value)
    return "0" if number == 0 else f"{number:.0e}"


def _short(value: float | str | None) -> str:
    if value is None:
        return "-"
    number = float(value)
    return f"{number:.1f}" if number < 100 else f"{number:.0e}"
