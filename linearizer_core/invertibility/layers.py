"""Which layer loses the inverse."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility.examples import require_examples
from linearizer_core.invertibility.gain import forward_gain, inverse_gain
from linearizer_core.invertibility.round_trip import REFUSALS, RoundTrip, compare, round_trip

Visit = tuple[Tensor, Condition | None]
T = TypeVar("T")


@dataclass(frozen=True)
class LayerMeasure:
    """One layer at the points where the data reach it.

    Where the layer refuses them (a `ConvergenceError`, a `LatticeError`, a singular matrix), the round trip counts as infinitely wrong and the gain is NaN.

    Attributes:
        path: where the layer is, such as ``g.bijections[7]``.
        layer: its type and shapes.
        round_trip: the error of the layer alone, from its input and back.
        gain_forward: the largest gain of the layer over the examples, as in `gain`.
        gain_inverse: the largest gain of its inverse; NaN where that has no gradient.
        harm: its own relative error, plus what the rounding of its output becomes in its input and the other way round, relative again: machine precision times
            the larger of inverse gain times |z| / |x| and forward gain times |x| / |z|, with the largest entries of input x and output z. A mere change of
            scale does no harm.
    """

    path: str
    layer: str
    round_trip: RoundTrip
    gain_forward: float
    gain_inverse: float
    harm: float

    @property
    def gain(self) -> float:
        """The larger of the two gains; NaN counts as infinite."""
        return max(_or_infinite(self.gain_forward), _or_infinite(self.gain_inverse))

    def __str__(self) -> str:
        return (
            f"{self.path} {self.layer} (round-trip error {self.round_trip.maximum:.1e}, "
            f"gain {self.gain_forward:.1e} forward and {self.gain_inverse:.1e} inverse)"
        )


def measure_layers(g: Bijection, x: Tensor, condition: Condition | None = None, *, name: str = "g", iterations: int = 5) -> tuple[LayerMeasure, ...]:
    """Every layer that ``x`` reaches, in the order in which it does; a layer that is used twice appears twice.

    Layers are the bijections inside ``g``, at any depth, that hold no further ones. Composites of any kind are looked through: what counts is which methods of
    its members a composite calls, in whichever direction. Where a layer refuses, the ones after it are not reached.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``; examples must not see each other.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.
        name: what to call ``g`` in the paths.
        iterations: steps of the power iteration for the gains.

    Raises:
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Chain, FixedAffine, Identity
        >>> chain = Chain(Identity((2,)), Chain(FixedAffine((2,), shift=0.0, scale=1e-4)))
        >>> [layer.path for layer in measure_layers(chain, torch.rand(3, 2))]
        ['g.bijections[0]', 'g.bijections[1].bijections[0]']
    """
    require_examples("measure_layers", x)
    visits: list[tuple[str, Bijection, Visit]] = []
    with torch.no_grad(), ExitStack() as stack:
        for path, layer in _layers(g):
            stack.enter_context(_recorded(layer, path, visits))
        try:
            g(x, condition)
        except REFUSALS:
            if not visits:
                raise
    return tuple(_measure(name + path, layer, *visit, iterations) for path, layer, visit in visits)


def worst_layer(
    g: Bijection,
    x: Tensor,
    condition: Condition | None = None,
    *,
    by: Literal["harm", "gain"] = "harm",
    name: str = "g",
    iterations: int = 5,
) -> LayerMeasure:
    """The layer of `measure_layers` with the largest ``harm``, or the largest ``gain``.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Chain, FixedAffine, Identity
        >>> chain = Chain(Identity((2,)), FixedAffine((2,), shift=0.5, scale=1e-4), Identity((2,)))
        >>> print(worst_layer(chain, torch.ones(1, 2), name="gy"))
        gy.bijections[1] FixedAffine((2,) -> (2,)) (round-trip error ..., gain 1.0e-04 forward and 1.0e+04 inverse)
    """
    return max(measure_layers(g, x, condition, name=name, iterations=iterations), key=lambda layer: layer.harm if by == "harm" else layer.gain)


def _layers(g: Bijection) -> Iterator[tuple[str, Bijection]]:
    for name, module in g.named_modules():
        if isinstance(module, Bijection) and not any(isinstance(inner, Bijection) for inner in module.modules() if inner is not module):
            yield re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f".{name}" if name else ""), module


@contextmanager
def _recorded(layer: Bijection, path: str, visits: list[tuple[str, Bijection, Visit]]) -> Iterator[None]:
    """Note the data side of each call. Hooks would miss calls of the methods other than forward; so the methods of this one object are wrapped for a while."""
    depth = 0

    def wrap(method: str) -> Callable[..., object]:
        original = getattr(layer, method)
        backward = method.startswith("inverse")

        def call(value: Tensor, condition: Condition | None = None) -> object:
            nonlocal depth
            depth += 1  # one method of a layer calls another
            data = value
            try:
                result = original(value, condition)
                if backward:
                    data = result[0] if isinstance(result, tuple) else result
            except REFUSALS:
                if backward:  # the data side stays unknown: not a number, so that the layer counts as infinitely wrong
                    data = value.new_full((len(value), *layer.in_shape), torch.nan)
                raise
            finally:
                depth -= 1
                if not depth:
                    visits.append((path, layer, (data, condition)))
            return result

        return call

    methods = ("forward", "inverse", "forward_and_logdet", "inverse_and_logdet")
    # Straight into the dictionary of the object: nn.Module would take some values for submodules.
    layer.__dict__.update({method: wrap(method) for method in methods})
    try:
        yield
    finally:
        for method in methods:
            del layer.__dict__[method]


def _measure(path: str, layer: Bijection, x: Tensor, condition: Condition | None, iterations: int) -> LayerMeasure:
    with torch.no_grad():
        size = _unless_refused(lambda: float(layer(x, condition).abs().max()), math.nan)
    ratio = size / (float(x.abs().max()) or 1.0)
    error = _unless_refused(lambda: round_trip(layer, x, condition), compare(torch.full_like(x, torch.nan), x))
    forward = _unless_refused(lambda: float(forward_gain(layer, x, condition, iterations=iterations).max()), math.nan)
    inverse = _unless_refused(lambda: float(inverse_gain(layer, x, condition, iterations=iterations).max()), math.nan)
    growth = max(_or_infinite(inverse * ratio), _or_infinite(forward / (ratio or 1.0)))
    harm = _or_infinite(error.relative.maximum) + torch.finfo(x.dtype).eps * growth
    return LayerMeasure(path, f"{type(layer).__name__}({layer.extra_repr()})", error, forward, inverse, harm)


def _unless_refused(measure: Callable[[], T], otherwise: T) -> T:
    try:
        return measure()
    except REFUSALS:
        return otherwise


def _or_infinite(value: float) -> float:
    return value if value == value else torch.inf
