"""The watch over invertibility in the course of training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.config import MonitorConfig
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.errors import InvertibilityWarning
from linearizer_core.invertibility import collisions, far_off_inputs, round_trip, worst_layer
from linearizer_core.invertibility.gain import forward_gain, inverse_gain
from linearizer_core.invertibility.round_trip import REFUSALS
from linearizer_core.model import LinearizerModel
from linearizer_core.training.seeds import derive_seed

__all__ = ["measure_invertibility"]

_GAIN_EXAMPLES = 8
_ITERATIONS = 5
_OF_THE_INVERSE = ("round_trip", "round_trip_off_data", "gain_inverse")
_ADVICE = "Bound its scale or its Lipschitz constant, lower the learning rate, or use additive couplings"

T = TypeVar("T")


@dataclass(frozen=True)
class _Watched:
    """One bijection of a model, and what is sent through it."""

    name: str
    bijection: Bijection
    data: Tensor
    off_data: Tensor
    condition: Condition | None

    def measurements(self) -> dict[str, Callable[[], float]]:
        """One function for each number."""
        g, few, condition = self.bijection, *self.few
        measurements = {
            "round_trip": lambda: round_trip(g, self.data, self.condition).relative.maximum,
            "round_trip_off_data": lambda: round_trip(g, self.off_data, self.condition).relative.maximum,
            "gain": lambda: float(forward_gain(g, few, condition, iterations=_ITERATIONS).max()),
            "gain_inverse": lambda: float(inverse_gain(g, few, condition, iterations=_ITERATIONS).max()),
            "collisions": lambda: collisions(g, self.data, self.condition).count,
        }
        if g.inverse_grad == "none":
            del measurements["gain_inverse"]
        return measurements

    @property
    def few(self) -> tuple[Tensor, Condition | None]:
        """Examples for the gains, which take many passes."""
        few = None if self.condition is None else Condition(**{name: tensor[:_GAIN_EXAMPLES] for name, tensor in self.condition.items()})
        return self.data[:_GAIN_EXAMPLES], few


@dataclass(frozen=True)
class _Finding:
    """A number, the bijection that has it, and why it is infinite where the bijection refused."""

    value: float
    one: _Watched
    refusal: str = ""


def measure_invertibility(
    model: LinearizerModel, splits: Splits, config: MonitorConfig, *, step: int, seed: int, device: torch.device
) -> dict[str, float | None]:
    """What the bijections of ``model`` lose at this step, as scalars to log; a number beyond its limit costs an `InvertibilityWarning` that names the layer.

    The largest round-trip error on the first validation examples and on inputs far off the data, the largest gains of g and g^-1, and collisions; of gx and gy
    the worse one. Called under autocast, as the loop does in mixed precision, round trips and collisions are those of the network with lowered conditioners;
    gains are taken outside autocast. Weights, modes, gradients and random state stay as they are.

    Infinities and NaN become None. An inverse that refuses (that does not converge, say) counts as infinitely wrong. No error stops training: a number that
    could not be measured is left out, and an `InvertibilityWarning` names it and the reason.
    """
    largest: dict[str, _Finding] = {}
    missing: dict[str, list[str]] = {}
    with _undisturbed(model, device):
        for one in _attempt(partial(_watched, model, splits, config, seed, device), "anything", missing) or []:
            for name, measure in one.measurements().items():
                found = _attempt(partial(_measure, name, measure, one), f"{one.name} {name}", missing)
                if found is not None and (name not in largest or found.value >= largest[name].value):
                    largest[name] = found
        _warn(largest, config, step)
    if missing:
        listed = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in missing.items())
        warnings.warn(
            f"step {step}: not measured: {listed}. Training goes on without; fewer monitor.examples need less memory", InvertibilityWarning, stacklevel=2
        )
    return {f"monitor_{name}": found.value if math.isfinite(found.value) else None for name, found in largest.items()}


def _attempt(measure: Callable[[], T], what: str, missing: dict[str, list[str]]) -> T | None:
    """What ``measure`` returns; None where it fails, and the reason goes into ``missing``."""
    try:
        return measure()
    except Exception as error:  # whatever a plugin raises: training has to go on
        missing.setdefault(_in_words(error), []).append(what)
        return None


def _measure(name: str, measure: Callable[[], float], one: _Watched) -> _Finding:
    try:
        value = measure()
    except REFUSALS as error:
        if name not in _OF_THE_INVERSE:
            raise
        return _Finding(math.inf, one, f" ({_in_words(error)})")
    return _Finding(math.inf if math.isnan(value) else value, one)


def _in_words(error: Exception) -> str:
    """The first line: running out of memory takes many to tell."""
    line = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {line}"


def _warn(largest: dict[str, _Finding], config: MonitorConfig, step: int) -> None:
    """At most one warning of each kind."""
    trip = max(("round_trip", "round_trip_off_data"), key=lambda name: _value(largest, name))
    if _value(largest, trip) > config.tolerance:
        found, one = largest[trip], largest[trip].one
        where, x = ("the data", one.data) if trip == "round_trip" else ("inputs far off the data", one.off_data)
        loss = f"round trip on {where} is off by {found.value:.1e} of their size, tolerance {config.tolerance:.1e}"
        _emit(step, found, loss, x, one.condition, "harm")
    steepest = max(("gain", "gain_inverse"), key=lambda name: _value(largest, name))
    if _value(largest, steepest) > config.gain_limit:
        found = largest[steepest]
        direction = "forward" if steepest == "gain" else "of the inverse"
        _emit(step, found, f"gain {direction} is {found.value:.1e}, limit {config.gain_limit:.1e}", *found.one.few, "gain")
    if _value(largest, "collisions"):
        found, one = largest["collisions"], largest["collisions"].one
        _emit(step, found, f"{found.value:.0f} pairs of distinct inputs share a latent, expected none", one.data, one.condition, "harm")


def _value(largest: dict[str, _Finding], name: str) -> float:
    return largest[name].value if name in largest else 0.0


def _emit(step: int, found: _Finding, loss: str, x: Tensor, condition: Condition | None, by: Literal["harm", "gain"]) -> None:
    one = found.one
    try:
        layer = str(worst_layer(one.bijection, x, condition, by=by, name=one.name, iterations=_ITERATIONS))
    except Exception as error:  # see _attempt
        layer = f"not found, {_in_words(error)}"
    text = f"step {step}: {one.name}: {loss}{found.refusal}; worst layer: {layer}. {_ADVICE}"
    warnings.warn(text, InvertibilityWarning, stacklevel=2)


def _watched(model: LinearizerModel, splits: Splits, config: MonitorConfig, seed: int, device: torch.device) -> list[_Watched]:
    batch = {name: tensor.to(device) for name, tensor in stack(splits.validation, config.examples).items()}
    # The same at every step, so that the numbers tell about the weights alone.
    generator = torch.Generator().manual_seed(derive_seed(seed, "monitor"))
    bijections = {"gy": model.gy} if model.gx is model.gy else {"gx": model.gx, "gy": model.gy}
    return [_watch(name, bijection, batch, generator) for name, bijection in bijections.items()]


def _watch(name: str, bijection: Bijection, batch: Batch, generator: torch.Generator) -> _Watched:
    x = batch["x"]
    parameter = next(bijection.parameters(), x)
    if tuple(x.shape[1:]) != bijection.in_shape:  # the domain of noise, where it is not that of the data
        x = torch.randn(len(x), *bijection.in_shape, generator=generator).to(x)
    x = x.to(parameter.dtype)
    count = len(x)
    families = far_off_inputs(bijection.in_shape, -(-count // 4) + 1, generator, reference=x)
    off_data = torch.stack(list(families.values()), 1).flatten(0, 1)[:count].to(x)
    return _Watched(name, bijection, x, off_data, _condition(bijection, batch, count, x.device))


def _condition(bijection: Bijection, batch: Batch, count: int, device: torch.device) -> Condition | None:
    """Labels where the data have them, else all categories in turn."""
    turns = torch.arange(count, device=device)
    categories = {name: batch[name] if name in batch else turns % number for name, number in bijection.conditions.items()}
    return Condition(**categories) if categories else None


@contextmanager
def _undisturbed(model: LinearizerModel, device: torch.device) -> Iterator[None]:
    """Evaluation mode and a copy of the random state for a while."""
    modes = {module: module.training for module in model.modules()}
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
