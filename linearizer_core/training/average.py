"""The running average of the weights that a stage ends with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from linearizer_core.training.schedule import averaging_decay

__all__ = ["WeightAverage"]


class WeightAverage:
    r"""Exponential moving average :math:`\bar\theta \leftarrow d_k \bar\theta + (1 - d_k)\,\theta` of named parameters.

    The decay is :math:`d_k = \min(\texttt{ema}, k/(k + \texttt{warmup}))`. Only parameters are averaged: buffers do not change in the course of a stage.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> average = WeightAverage({"weight": weight}, ema=0.5, warmup=50)
        >>> _ = weight.data.fill_(2.0); average.update(50)
        >>> with average.applied():
        ...     print(weight.item())
        1.5
        >>> weight.item()
        2.0
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], *, ema: float, warmup: int) -> None:
        self.ema = ema
        self.warmup = warmup
        self._parameters = dict(parameters)
        self._average = [parameter.detach().clone() for parameter in self._parameters.values()]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take the current weights into the average; ``updates`` counts the earlier updates."""
        weight = 1.0 - averaging_decay(self.ema, self.warmup, updates)
        torch._foreach_lerp_(self._average, list(self._parameters.values()), weight)

    @torch.no_grad()
    def copy_to_parameters(self) -> None:
        """Overwrite the weights with their average."""
        torch._foreach_copy_(list(self._parameters.values()), self._average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights for the time of the context; afterwards it has the very bits it had."""
        kept = [parameter.detach().clone() for parameter in self._parameters.values()]
        self.copy_to_parameters()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(list(self._parameters.values()), kept)

    def tensors(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(zip(self._parameters, self._average, strict=True))

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up the averages of a checkpoint."""
        for name, average in self.tensors().items():
            average.copy_(tensors[name])
