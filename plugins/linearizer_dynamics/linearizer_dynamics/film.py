"""Films as files, and their first frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from linearizer_core.data import stack
from linearizer_core.errors import ConfigError
from linearizer_core.figures.files import read_example
from linearizer_core.figures.images import is_image
from linearizer_core.figures.panels import save_strips
from linearizer_core.pretrained import Pretrained, load, uri_of
from linearizer_core.study import open_subject

_PER_ROW = 14


def first_frame(model: str, image: str) -> tuple[Pretrained, Tensor]:
    """A model of frames, and its first frame ``(C, H, W)``: a test example by its number, or an image file scaled to the size of the frames.

    Raises:
        ConfigError: for a model of something else than frames, or a number that no test example has.
        DataError: for a file that is no image.
    """
    if image.isdecimal():
        subject = open_subject(model)
        pretrained, examples = subject.pretrained, stack(subject.splits.test)["x"]
        _require_frames(model, pretrained)
        if int(image) >= len(examples):
            raise ConfigError(f"image {image}: there are {len(examples)} test examples, numbered from 0; give a smaller number")
        return pretrained, examples[int(image)]
    pretrained = load(uri_of(model))
    return pretrained, read_example(Path(image), _require_frames(model, pretrained))


def save_gif(path: Path, frames: Tensor, *, scale: int, pause: int) -> None:
    """Frames ``(T, C, H, W)`` in [0, 1] as an animation without end, each pixel ``scale`` pixels wide."""
    large = (255 * frames).round().byte().repeat_interleave(scale, 2).repeat_interleave(scale, 3).permute(0, 2, 3, 1).squeeze(-1).cpu().numpy()
    first, *rest = (Image.fromarray(frame) for frame in large)
    first.save(path, save_all=True, append_images=rest, duration=pause, loop=0)


def save_strip(path: Path, frames: Tensor, times: Sequence[float]) -> None:
    """Frames side by side, with the time of the first of each row."""
    pad = -len(frames) % _PER_ROW if len(frames) > _PER_ROW else 0
    filled = torch.cat([frames, frames.new_zeros(pad, *frames.shape[1:])])
    rows = torch.split(filled, _PER_ROW)
    save_strips(path, f"t = {times[0]:.3g} to {times[-1]:.3g}", [[(f"t = {times[_PER_ROW * number]:.3g}", row) for number, row in enumerate(rows)]])


def _require_frames(model: str, pretrained: Pretrained) -> tuple[int, int, int]:
    shape = pretrained.config.data.shape
    if not is_image(shape):
        raise ConfigError(f"{model} is a model of states of shape {shape}; use `linearizer dynamics predict`")
    channels, height, width = shape
    return channels, height, width
