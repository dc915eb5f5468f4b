"""What the card of a saved style model says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from linearizer_core.markdown import figure
from linearizer_core.task import TaskCard

_USE = """\
## Style pictures

Each style is one linear operator between the same content maps, so styles mix as matrices, at any strength, and can be undone:

```
linearizer style styles local-dir:PATH
linearizer style apply PICTURE --model local-dir:PATH --mix candy=0.3,mosaic=0.7 --strength 0.8 -o stylised.png
linearizer style destyle stylised.png --model local-dir:PATH --style candy -o back.png
```"""


def card(metrics: Mapping[str, Any]) -> TaskCard:
    """How to use the model, and what its main figures mean."""
    section = _USE
    if {"test_crops", "psnr_db", "colour_psnr_db", "content_psnr_db"} <= metrics.keys():
        ours, colours, content = (figure(metrics[name]) for name in ("psnr_db", "colour_psnr_db", "content_psnr_db"))
        section += (
            f"\n\nOn {figure(metrics['test_crops'])} held-out crops of each style the pictures agree with those of the teacher to {ours} dB; the affine "
            f"map of colours that fits best gives {colours} dB, the content as it is {content} dB."
        )
    return TaskCard(
        section=section,
        measured=("psnr_db", "ssim", "colour_psnr_db", "colour_ssim", "content_psnr_db", "content_ssim", "styles_better_than_colour", "test_crops"),
        exactness=("round_trip_max_abs_err", "destyle_max_abs_err"),
        limitations=("The figures compare with the teacher that made the pairs, not with what people like.",),
        pipeline_tag="image-to-image",
    )
