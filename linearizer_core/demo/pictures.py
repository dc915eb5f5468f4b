"""Pictures to begin with, for any model."""

from __future__ import annotations

from torch import Tensor

from linearizer_core.errors import NoSamplesError
from linearizer_core.figures.images import is_image
from linearizer_core.pretrained import Pretrained

_SAMPLES = 8


def picture_shape(pretrained: Pretrained) -> tuple[int, int, int]:
    """The shape ``(C, H, W)`` of the pictures of a model of pictures."""
    channels, height, width = pretrained.config.data.shape
    return channels, height, width


def has_pictures(pretrained: Pretrained) -> bool:
    """Whether the data are pictures of one or three channels."""
    return is_image(pretrained.config.data.shape)


def showable(x: Tensor) -> Tensor:
    """Pictures as they can be shown: clipped to [0, 1], black where there is no number."""
    return x.nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)


def pictures_of(pretrained: Pretrained) -> Tensor | None:
    """The test examples of a model of pictures ``(N, C, H, W)``, or samples where none are saved with it; None where it draws none either."""
    found = pretrained.examples()
    if found is not None:
        return found
    try:
        return showable(pretrained.sample(_SAMPLES)).cpu()
    except NoSamplesError:
        return None
