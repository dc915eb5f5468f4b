"""The pictures of a report: grids side by side, and labelled strips."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from torch import Tensor
from torchvision.utils import make_grid

INK, MUTED, LINE = "#1f2430", "#6b7280", "#3b5bdb"
"""Colours of titles, of labels and of data."""
_GAP = 0.3


def save_panels(path: Path, title: str, panels: Sequence[tuple[str, Tensor]], *, columns: int = 8) -> None:
    """Grids of images ``(N, C, H, W)`` side by side, each under its own heading."""
    figure = Figure(figsize=(3.6 * len(panels), 4.3), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    for axis, (heading, images) in zip(axes[0], panels, strict=True):
        axis.imshow(_picture(images, columns, gap=0.4), interpolation="nearest")
        axis.set_title(heading, fontsize=11, color=MUTED)
        axis.set_axis_off()
    finish(figure, path, title)


def save_strips(path: Path, title: str, groups: Sequence[Sequence[tuple[str, Tensor]]]) -> None:
    """Groups of labelled rows of images: the rows of a group belong together, groups are set apart."""
    columns = len(groups[0][0][1])
    heights = [height for group in groups for height in (*(1.0 for _ in group), _GAP)][:-1]
    figure = Figure(figsize=(0.85 * columns + 1.6, 0.86 * sum(heights) + 0.5), layout=ConstrainedLayoutEngine(h_pad=0.01, hspace=0.0))
    axes = iter(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
    for number, group in enumerate(groups):
        if number:
            next(axes).set_axis_off()
        for heading, images in group:
            _strip(next(axes), heading, _picture(images, columns, gap=1.0))
    finish(figure, path, title)


def _strip(axis: Axes, heading: str, picture: NDArray[Any]) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_ylabel(heading, fontsize=9, color=MUTED, rotation=0, ha="right", va="center", labelpad=8)
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_frame_on(False)


def _picture(images: Tensor, columns: int, *, gap: float) -> NDArray[np.float32]:
    """One picture of all images, with gaps of the grey value ``gap``: in a dense grid strokes that touch the edge must not run into each other."""
    # Small images are enlarged first: the gaps between them then stay thin.
    factor = max(1, round(64 / images.shape[-1]))
    large = images.detach().float().cpu().clamp(0, 1).repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    picture: NDArray[np.float32] = make_grid(large, nrow=columns, padding=4, pad_value=gap).permute(1, 2, 0).numpy()
    return picture


def finish(figure: Figure, path: Path, title: str) -> None:
    """Give a figure its title and write it as PNG in one atomic step."""
    temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
    temporary.write_bytes(as_png(figure, title))
    temporary.replace(path)


def as_png(figure: Figure, title: str) -> bytes:
    """A figure under its title, as the bytes of a PNG file."""
    figure.suptitle(title, fontsize=13, color=INK)
    file = BytesIO()
    figure.savefig(file, format="png", dpi=130, facecolor="white", bbox_inches="tight", pad_inches=0.12)
    return file.getvalue()
