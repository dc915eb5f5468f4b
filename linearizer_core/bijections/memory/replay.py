"""One step of a bijection, evaluated again from its result: what backpropagation without stored activations is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Replay:
    """A step whose input was rebuilt from its output, with a graph from the one to the other.

    Attributes:
        start: the rebuilt input, without a graph.
        leaves: what the graph starts from: ``start``, or parts of it.
        end: the output again, with a graph to ``leaves`` and to the parameters.
        logdet: log-determinants ``(B,)`` with a graph; None where the step has none.
        join: makes the gradient of ``start`` from those of ``leaves``.
    """

    start: Tensor
    leaves: tuple[Tensor, ...]
    end: Tensor
    logdet: Tensor | None
    join: Callable[..., Tensor]

    @staticmethod
    def of(start: Tensor, step: Callable[[Tensor], tuple[Tensor, Tensor | None]]) -> Replay:
        """Evaluate ``step`` on a known input, with a graph."""
        with torch.enable_grad():
            leaf = start.detach().requires_grad_()
            end, logdet = step(leaf)
        return Replay(start, (leaf,), end, logdet, lambda gradient: gradient)


@final
class GradientSums:
    """Gradients of chosen tensors, summed over the steps of a chain.

    Args:
        tensors: parameters and conditions whose gradients are wanted.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._sums: dict[int, Tensor | None] = {id(tensor): None for tensor in tensors}

    def pull(self, replay: Replay, gradient: Tensor, gradient_of_logdet: Tensor | None, candidates: Iterable[Tensor]) -> Tensor:
        """The gradient of ``replay.start``, given that of its end; those of ``candidates`` are added to the sums."""
        wanted = [tensor for tensor in candidates if id(tensor) in self._sums]
        outputs, gradients = [replay.end], [gradient]
        if gradient_of_logdet is not None and replay.logdet is not None and replay.logdet.requires_grad:
            outputs.append(replay.logdet)
            gradients.append(gradient_of_logdet)
        # As in plain backpropagation, which runs outside autocast: products in the backward pass of the stream are not lowered either.
        with torch.autocast(gradient.device.type, enabled=False):
            found = torch.autograd.grad(outputs, [*replay.leaves, *wanted], gradients, allow_unused=True)
        for tensor, part in zip(wanted, found[len(replay.leaves) :], strict=True):
            if part is not None:
                before = self._sums[id(tensor)]
                self._sums[id(tensor)] = part if before is None else before + part
        parts = [torch.zeros_like(leaf) if part is None else part for leaf, part in zip(replay.leaves, found, strict=False)]
        return replay.join(*parts)

    def __getitem__(self, tensor: Tensor) -> Tensor | None:
        return self._sums[id(tensor)]
