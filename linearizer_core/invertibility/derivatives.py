"""Derivatives of bijections, taken as plain backpropagation takes them: outside autocast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition


def gradients(outputs: Tensor, inputs: Sequence[Tensor], grad_outputs: Tensor | None = None, *, keep_graph: bool = False) -> tuple[Tensor, ...]:
    """The gradients of ``outputs`` (of their sum, where no ``grad_outputs`` weigh them) in all ``inputs``; zeros where there is no dependence.

    ``torch.autograd.grad`` called under autocast would also lower the products of the backward pass that belong to the stream. Here only what the forward pass
    lowered, the conditioners, is lowered on the way back.

    Arguments:
        outputs: what is differentiated.
        inputs: in what.
        grad_outputs: of the shape of ``outputs``.
        keep_graph: make a graph of the result, for second derivatives. The graph of ``outputs`` is kept in any case.

    Example:
        >>> x = torch.tensor([1.0, 3.0], requires_grad=True)
        >>> gradients(x.square(), [x])
        (tensor([2., 6.]),)
    """
    weights = torch.ones_like(outputs) if grad_outputs is None else grad_outputs
    with torch.autocast(outputs.device.type, enabled=False):
        return torch.autograd.grad(outputs, inputs, weights, retain_graph=True, create_graph=keep_graph, materialize_grads=True)


def jacobian(g: Bijection, x: Tensor, condition: Condition | None = None) -> Tensor:
    """The Jacobian of every example, ``(B, outputs, inputs)``, one backward pass per output for the whole batch."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = g(x, condition).flatten(1)
        rows = [gradients(z[:, output], [x])[0].flatten(1) for output in range(z.shape[1])]
    return torch.stack(rows, 1)
