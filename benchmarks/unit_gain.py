"""Random weights of a stated sharpness: conditioners of unit gain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.bijections import Bijection
from linearizer_core.invertibility.gain import spectral_norm

_ROUNDS = 6
_NEAR = 0.03


def set_unit_gain(g: Bijection, x: Tensor, generator: torch.Generator, *, examples: int = 8, iterations: int = 8) -> list[float]:
    r"""Give every conditioner of ``g`` unit gain on ``x``, in place; return the median gain that each one has afterwards.

    A conditioner is a module with parameters, not a bijection itself, directly inside a bijection that holds no other bijection. In the order in which
    x reaches them, with all earlier ones set already:

    1. Weight matrices and kernels that are zero (the last layers, mostly) are drawn from :math:`N(0, 1/\text{fan-in})`; all others stay as initialised.
    2. The gain at one example is the spectral norm of the Jacobian of the conditioner's whole output with respect to its input, where x reaches it.
    3. The weights and bias of the last layer are divided by the median gain over the examples. Layers that bound their own norm undo such a division, wholly or
       in part, so this is repeated until the gain is within 3 % of 1 or no longer moves; a conditioner bounded below 1 ends at its bound.
    """
    gains: list[float] = []
    handles = [module.register_forward_pre_hook(_Setter(gains, generator, examples, iterations), with_kwargs=True) for module in conditioners(g)]
    with torch.no_grad():
        g(x)
    for handle in handles:
        handle.remove()
    return gains


def conditioners(g: Bijection) -> Iterator[nn.Module]:
    """The conditioners of all bijections inside ``g``."""
    for module in g.modules():
        if isinstance(module, Bijection) and sum(isinstance(each, Bijection) for each in module.modules()) == 1:
            yield from (child for child in module.children() if next(child.parameters(), None) is not None)


class _Setter:
    """A hook that sets a conditioner when data reach it first."""

    def __init__(self, gains: list[float], generator: torch.Generator, examples: int, iterations: int) -> None:
        self.gains = gains
        self.generator = generator
        self.examples = examples
        self.iterations = iterations
        self.known = False

    def __call__(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if self.known:
            return
        self.known = True
        kept, *rest = arguments
        with torch.no_grad():
            for parameter in module.parameters():
                if parameter.ndim > 1 and not parameter.any():
                    fan_in = parameter[0].numel()
                    parameter.copy_(torch.randn(parameter.shape, generator=self.generator) / fan_in**0.5)
            last = [layer for layer in module.modules() if isinstance(getattr(layer, "weight", None), nn.Parameter) and layer.weight.ndim > 1][-1]
            measured = self._gain(module, kept, rest, keywords)
            for _ in range(_ROUNDS):
                if abs(measured - 1) <= _NEAR or measured == 0:
                    break
                for parameter in last.parameters(recurse=False):
                    parameter.div_(measured)
                before, measured = measured, self._gain(module, kept, rest, keywords)
                if abs(measured - before) <= _NEAR * before:
                    break
        self.gains.append(measured)

    def _gain(self, module: nn.Module, kept: Tensor, rest: list[Any], keywords: dict[str, Any]) -> float:
        few = kept[: self.examples]
        return float(spectral_norm(lambda values: module(values, *rest, **keywords), few, iterations=self.iterations).median())
