"""No measure of an empty batch."""

from __future__ import annotations

from torch import Tensor

from linearizer_core.errors import InputShapeError


def require_examples(measure: str, x: Tensor) -> None:
    """Raise unless ``x`` holds an example: the largest error of none is no number.

    Raises:
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> require_examples("round_trip", torch.rand(0, 3))
        Traceback (most recent call last):
        linearizer_core.errors.InputShapeError: round_trip: a batch of shape (0, 3), expected at least one example; pass some, such as test data
    """
    if not x.numel():
        raise InputShapeError(f"{measure}: a batch of shape {tuple(x.shape)}, expected at least one example; pass some, such as test data")
