"""What the card of a saved model says of the idempotent network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def card(metrics: Mapping[str, Any]) -> str:
    """A section in Markdown: how to project, and how exactly that was done."""
    lines = [
        "## Project",
        "",
        "```python",
        "from linearizer_core.pretrained import load",
        "",
        'f = load("local-dir:PATH").linearizer()',
        "fixed = f(images)  # (N, C, H, W) in [0, 1]; f(fixed) is fixed again",
        "```",
    ]
    errors = {name.removeprefix("idempotency_"): value for name, value in metrics.items() if name.startswith("idempotency_") and isinstance(value, float)}
    if errors:
        lines += ["", "| input | largest change when f is applied twice |", "|---|---|"]
        lines += [f"| {name.replace('_', ' ')} | {value:.1e} |" for name, value in errors.items()]
    return "\n".join(lines)
