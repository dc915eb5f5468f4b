"""Films of handwritten digits that move rigidly, rendered at any times."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from linearizer_core.data import Batch, DataInfo, DataSource, Splits, TensorTable, stack
from linearizer_core.errors import DataError
from linearizer_core.factory import create_dataset
from linearizer_dynamics.config import MovingDigitConfig

_CHUNK = 500


@final
class MovingDigit(DataSource):
    """Digits that turn about the centre of the frame, or go round it upright; one turn takes ``config.period``.

    An item holds ``x``, the first frame ``(1, size, size)``; ``later`` ``(T, 1, size, size)``, the frames at ``times`` ``(T,)`` after it. Training films are
    sampled at random times of one turn, test films evenly over two. Every frame is rendered from the digit itself, so that nothing blurs with time.

    Raises:
        DataError: when the source does not hold grey images.

    Example:
        >>> splits = MovingDigit(MovingDigitConfig(size=12, train=3, test=2)).load()
        >>> {name: tuple(tensor.shape) for name, tensor in splits.train[0].items()}
        {'x': (1, 12, 12), 'times': (12,), 'later': (12, 1, 12, 12)}
    """

    def __init__(self, config: MovingDigitConfig) -> None:
        self.config = config

    def load(self) -> Splits:
        config = self.config
        source = create_dataset(config.source.name, **config.source.options).load()
        if len(source.info.shape) != 3 or source.info.shape[0] != 1:
            raise DataError(
                f"data.source {source.info.name!r} holds examples of shape {source.info.shape}, expected grey images (1, H, W); give 'mnist' or 'digits'"
            )
        generator = torch.Generator().manual_seed(config.seed)
        even = 2 * config.period * torch.arange(1, config.test_frames + 1) / config.test_frames
        return Splits(
            DataInfo(name="moving_digit", shape=(1, config.size, config.size)),
            train=self._films(source.train, config.train, lambda count: self._random_times(count, generator)),
            validation=self._films(source.validation, config.test, lambda count: self._random_times(count, generator)),
            test=self._films(source.test, config.test, lambda count: even.expand(count, -1)),
        )

    def _random_times(self, count: int, generator: torch.Generator) -> Tensor:
        return self.config.period * torch.rand(count, self.config.frames, generator=generator).sort(dim=1).values

    def _films(self, digits: Dataset[Batch], limit: int | None, times_for: Callable[[int], Tensor]) -> TensorTable:
        images = stack(digits, limit)["x"]
        times = times_for(len(images))
        rows = torch.split(torch.arange(len(images)), _CHUNK)
        film = torch.cat([(255 * self.render(images[row], functional.pad(times[row], (1, 0)))).round().to(torch.uint8) for row in rows])
        return TensorTable(x=film[:, 0].clone(), times=times.clone(), later=film[:, 1:].clone())

    def render(self, images: Tensor, times: Tensor) -> Tensor:
        """Frames ``(N, T, 1, size, size)`` of ``images`` ``(N, 1, h, w)`` in [0, 1] at ``times`` ``(N, T)``, any real numbers."""
        config = self.config
        size, box = config.size, config.box or round(config.size * (0.75 if config.motion == "rotate" else 0.5))
        angle = 2 * math.pi * times.flatten() / config.period
        zero = torch.zeros_like(angle)
        scale = size / box
        if config.motion == "rotate":
            rows = [torch.stack([scale * angle.cos(), -scale * angle.sin(), zero], 1), torch.stack([scale * angle.sin(), scale * angle.cos(), zero], 1)]
        else:
            radius = (size - box) / size  # of the frame's half side: the box touches its border
            rows = [torch.stack([zero + scale, zero, -scale * radius * angle.cos()], 1), torch.stack([zero, zero + scale, -scale * radius * angle.sin()], 1)]
        many = images[:, None].expand(-1, times.shape[1], -1, -1, -1).flatten(0, 1)
        grid = functional.affine_grid(torch.stack(rows, 1), [len(many), 1, size, size], align_corners=False)
        frames = functional.grid_sample(many, grid, align_corners=False).clamp(0, 1)
        return frames.reshape(*times.shape, *frames.shape[1:])
