"""Batches of images as picture files."""

from __future__ import annotations

import math
import os
from pathlib import Path

from torch import Tensor

from linearizer_core.errors import ConfigError


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether examples of this shape can be shown: one or three channels, height, width."""
    return len(shape) == 3 and shape[0] in (1, 3)


def save_grid(images: Tensor, path: Path) -> None:
    """Write images ``(N, C, H, W)`` in [0, 1] as one PNG, nearly square, in one atomic step.

    Raises:
        ConfigError: for examples that are not images of one or three channels.
    """
    if not is_image(tuple(images.shape[1:])):
        raise ConfigError(f"examples of shape {tuple(images.shape[1:])} cannot be drawn; expected (1, H, W) or (3, H, W)")
    from torchvision.utils import save_image

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.png")
    save_image(images.float().clamp(0, 1).cpu(), temporary, nrow=math.ceil(math.sqrt(len(images))))
    os.replace(temporary, path)
