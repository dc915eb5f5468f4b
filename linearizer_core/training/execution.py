"""How a model is executed while it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from linearizer_core.bijections import Reversible, set_compiled, set_reversible
from linearizer_core.config import TrainingConfig

__all__ = ["executed_as", "set_convolution_layout"]


@contextmanager
def executed_as(config: TrainingConfig, model: nn.Module) -> Iterator[None]:
    """The model with memory-saving chains, compiled conditioners and channels-last convolutions, as ``config`` asks; afterwards it is as it was.

    A trained model then gives the bits that it will give when it is loaded again.
    """
    try:
        if config.reversible is not None:
            set_reversible(model, Reversible(**config.reversible.model_dump()))
        if config.compile:
            set_compiled(model, True)
        if config.channels_last:
            set_convolution_layout(model, torch.channels_last)
        yield
    finally:
        if config.reversible is not None:
            set_reversible(model, None)
        if config.compile:
            set_compiled(model, False)
        if config.channels_last:
            set_convolution_layout(model, torch.contiguous_format)


def set_convolution_layout(model: nn.Module, layout: torch.memory_format) -> None:
    """Of the kernels of convolutions alone: they decide the layout of what the convolutions give, and the stream of the bijections stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=layout)
