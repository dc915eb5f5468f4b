"""Constants whose float64 bits outlive a cast of the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from torch import Tensor, nn


@final
class Float64Constants(nn.Module):
    """Named buffers that follow the model to its device, never to its dtype.

    An orthogonal matrix rounded to float32 is orthogonal to 1e-7 only, for ever: a model cast to float32 and back would no
    longer invert in float64. The bits stay, and users cast a copy where they need it.

    Arguments:
        constants: float64 tensors by name.

    Example:
        >>> import torch
        >>> constants = Float64Constants(third=torch.tensor(1 / 3, dtype=torch.float64)).half()
        >>> constants["third"].item() == 1 / 3
        True
    """

    def __init__(self, **constants: Tensor) -> None:
        super().__init__()
        for name, constant in constants.items():
            self.register_buffer(name, constant)

    def __getitem__(self, name: str) -> Tensor:
        return self.get_buffer(name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        for name, constant in self.named_buffers():
            moved = fn(constant)
            self._buffers[name] = moved if moved.dtype == constant.dtype else constant.to(moved.device)
        return self
