"""The results of `benchmarks.invertibility` as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.published_backbone import LEARNING_RATE

FAMILIES = ("data", "gaussian", "uniform", "saturated", "constant", "adversarial")
STATES = ("trained", "unit gain", "initialised")
PRECISIONS = ("fp32", "bf16 conditioners", "fp64")
TARGET = 1e-5
TARGET_DEPTH = 16
_UNIT = 0.9
Cell = dict[str, Any]

_OVER_ALL = "Largest round-trip error over all families of inputs, in units of the pixel range: float32 / bfloat16 conditioners / float64."


PUBLISHED = "published design"


def tables(results: list[Cell]) -> dict[str, str]:
    """The table ``invertibility``, and ``numerics-NAME`` for each registered backbone."""
    families = sorted({_family(cell) for cell in results} - {PUBLISHED})
    return {"invertibility": overview(results), **{f"numerics-{family}": excerpt(results, family) for family in families}}


def write_tables(results: list[Cell], output: Path) -> None:
    """Each table as a Markdown file."""
    for name, text in tables(results).items():
        (output / f"{name}.md").write_text(text + "\n", encoding="utf-8")


def overview(results: list[Cell]) -> str:
    """One table for each state at the target's depth, and one over depths and precisions."""
    depth = TARGET_DEPTH if any(cell["depth"] == TARGET_DEPTH for cell in results) else max(cell["depth"] for cell in results)
    blocks = []
    for state in STATES:
        chosen = [cell for cell in results if cell["state"] == state and cell["depth"] == depth]
        if chosen:
            head = f"**{state.capitalize()}, depth {depth}, float32.** Largest round-trip error by family of inputs, in units of the pixel range."
            blocks.append(f"{head}\n\n{_by_family(chosen)}")
    shown = [cell for cell in results if cell["state"] == STATES[0] or cell["backbone"] == PUBLISHED]
    if shown:
        blocks.append(f"**Trained, over depth and precision; the {PUBLISHED} in all states.** {_OVER_ALL}\n\n{_over_depth(shown)}")
    return "\n\n".join([*blocks, source(results)])


def excerpt(results: list[Cell], family: str) -> str:
    """The rows of one backbone and its variants."""
    chosen = [cell for cell in results if _family(cell) == family]
    return f"{_OVER_ALL}\n\n{_over_depth(chosen)}\n\n{source(results)}"


def source(results: list[Cell]) -> str:
    """What the numbers come from."""
    settings, environments = results[0]["settings"], [cell["environment"] for cell in results]
    commits, versions = (", ".join(sorted({environment[name] or "unknown" for environment in environments})) for name in ("commit", "torch"))
    gains = [gain for cell in results if (gain := cell.get("conditioner_gain", {}).get("median")) is not None]
    bounded = [gain for gain in gains if gain < _UNIT]
    return (
        f"Families: {settings['examples']} test images, {settings['far_off']} each of Gaussian noise, uniform noise, saturated and constant images, and "
        f"{settings['searched']} searched for by gradient ascent. Trained: {settings['steps']} steps of {settings['batch_size']} on {settings['data']}, "
        f"AdamW at 1e-3 (the published design at its own {LEARNING_RATE:g}: at 1e-3 it diverges); unit gain: random weights, conditioners of median gain 1"
        + (f", or as near to it as their Lipschitz bounds allow: {min(bounded):.2g} to {max(bounded):.2g}" if bounded else "")
        + f". Iterative inverses: a fifth of all these counts. Lattice: inputs on its lattice. Seed {settings['seed']}, {environments[0]['cores']} CPU cores, "
        f"torch {versions}, code {commits}. Command: `python -m benchmarks.invertibility{' DIR' if settings['data'] == 'mnist' else ''}`."
    )


def worst(cell: Cell, precision: str = "fp32") -> float | None:
    """The largest round-trip error over all families; None where one could not be measured."""
    trips = cell.get("precisions", {}).get(precision, {}).get("round_trip", {})
    errors = [float(trips[name]["maximum"]) for name in FAMILIES if "maximum" in trips.get(name, {})]
    return max(errors) if len(errors) == len(FAMILIES) else None


def _by_family(cells: list[Cell]) -> str:
    head = ["data, median", *FAMILIES, "latents, median", "latents", "gain, g / g^-1", "log-det", "time, g^-1 / g", f"at most {TARGET:.0e}", "fit, MSE"]
    lines = ["| backbone | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for cell in cells:
        found = cell.get("precisions", {}).get("fp32", {})
        trips, gain, logdet = found.get("round_trip", {}), found.get("gain", {}), found.get("logdet")
        row = [_number(trips.get("data", {}).get("median")), *(_number(trips.get(name, {}).get("maximum")) for name in FAMILIES)]
        row += [_number(found.get("latents", {}).get(name)) for name in ("median", "maximum")]
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
