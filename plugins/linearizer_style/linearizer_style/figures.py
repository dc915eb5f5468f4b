"""Pictures of what weights and strengths do."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor

from linearizer_core.figures.panels import save_panels, save_strips
from linearizer_style.mixing import StyleMixer

_WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)
_STYLES = 6
"""With more styles the first ones are drawn."""


@torch.no_grad()
def draw_styles(mixer: StyleMixer, picture: Tensor, path: Path) -> None:
    """One picture ``(3, H, W)`` as it is, and in every style."""
    panels = [("content", picture[None])]
    panels += [(style, mixer.mix({style: 1.0})(picture[None])) for style in mixer.names[:_STYLES]]
    save_panels(path, "One picture in every style", panels, columns=1)


@torch.no_grad()
def draw_mixes(mixer: StyleMixer, picture: Tensor, path: Path) -> None:
    """One picture ``(3, H, W)`` in mixes of every pair of styles, the second one gaining from left to right."""
    rows = []
    for first, second in combinations(mixer.names[:_STYLES], 2):
        mixes = [mixer.mix({first: 1 - weight, second: weight})(picture[None]) for weight in _WEIGHTS]
        rows.append((f"{first} - {second}", torch.cat(mixes)))
    save_strips(path, f"Mixes of two styles, weights of the second {', '.join(f'{weight:g}' for weight in _WEIGHTS)}", [rows])


@torch.no_grad()
def draw_strengths(mixer: StyleMixer, picture: Tensor, path: Path) -> None:
    """One picture ``(3, H, W)`` in every style, at strengths from 0 to beyond 1."""
    rows = [(style, torch.cat([mixer.mix({style: 1.0}, strength)(picture[None]) for strength in _STRENGTHS])) for style in mixer.names[:_STYLES]]
    save_strips(path, f"Strengths {', '.join(f'{strength:g}' for strength in _STRENGTHS)}", [rows])
