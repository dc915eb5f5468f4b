"""What is asked of a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from linearizer_core.errors import DataError

Teacher = Callable[[Tensor], Tensor]
"""Images ``(N, 3, H, W)`` in [0, 1] to stylised images of the same shape. A function, a module, whatever can be called."""


def taught(name: str, teacher: Teacher, images: Tensor) -> Tensor:
    """What a teacher makes of images, clipped to [0, 1], without gradients.

    Raises:
        DataError: when it gives another shape, or numbers that are not finite.

    Example:
        >>> taught("negative", lambda images: 1 - images, torch.zeros(1, 3, 2, 2)).mean()
        tensor(1.)
    """
    with torch.no_grad():
        found = teacher(images)
    if not isinstance(found, Tensor) or found.shape != images.shape:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise DataError(f"teacher {name!r} made {shape} of images of shape {tuple(images.shape)}, expected the same shape; crop or scale what it gives")
    if not bool(found.isfinite().all()):
        raise DataError(f"teacher {name!r} gives NaN or infinite pixels, expected numbers in [0, 1]; divide by 255 where it paints in 0 to 255")
    return found.detach().float().clamp(0, 1)
