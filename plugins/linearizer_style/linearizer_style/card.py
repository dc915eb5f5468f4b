"""What the card of a saved style model says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def section(metrics: Mapping[str, Any]) -> str:
    """How to use the model, and what its main figures mean."""
    lines = [
        "Each style is one linear operator between the same content maps, so styles mix as matrices, at any strength, and can be undone:",
        "",
        "```",
        "linearizer style styles MODEL",
        "linearizer style apply PICTURE --model MODEL --mix candy=0.3,mosaic=0.7 --strength 0.8 -o stylised.png",
        "linearizer style destyle stylised.png --model MODEL --style candy -o back.png",
        "```",
    ]
    if "psnr_db" in metrics:
        lines += [
            "",
            f"On {metrics['test_crops']} held-out crops of each style the pictures agree with those of the teacher to {metrics['psnr_db']:.1f} dB; the affine "
            f"map of colours that fits best gives {metrics['colour_psnr_db']:.1f} dB, the content as it is {metrics['content_psnr_db']:.1f} dB.",
        ]
    return "\n".join(lines)
