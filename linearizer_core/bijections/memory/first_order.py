"""Functions that can be differentiated once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

from linearizer_core.errors import SecondDerivativeError

Result = TypeVar("Result")


def first_order_only(why: str) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Make the ``backward`` of an autograd function refuse ``create_graph=True``; ``why`` names the function and the fix.

    torch's own `once_differentiable` raises only where the incoming gradient has a graph; where it is constant, as that of a sum is, second derivatives
    would be missing in silence.
    """

    def decorate(backward: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(backward)
        def checked(ctx: Any, *gradients: Any) -> Result:
            if torch.is_grad_enabled():
                raise SecondDerivativeError(f"a gradient with create_graph=True, through {why}")
            return backward(ctx, *gradients)

        return checked

    return decorate
