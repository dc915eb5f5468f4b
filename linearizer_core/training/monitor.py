"""The watch over invertibility in the course of training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.config import MonitorConfig
from linearizer_core.data import Batch, Splits, stack
from linearizer_core.errors import InvertibilityWarning, LinearizerError
from linearizer_core.invertibility import collisions, far_off_inputs, gain, round_trip, worst_layer
from linearizer_core.model import LinearizerModel
from linearizer_core.training.seeds import derive_seed

__all__ = ["measure_invertibility"]

_GAIN_EXAMPLES = 8
_ITERATIONS = 5


@dataclass(frozen=True)
class _Watched:
    """One bijection of a model, and what is sent through it."""

    name: str
    bijection: Bijection
    data: Tensor
    off_data: Tensor
    condition: Condition | None


def measure_invertibility(
    model: LinearizerModel, splits: Splits, config: MonitorConfig, *, step: int, seed: int, device: torch.device
) -> dict[str, float | None]:
    """What the bijections of ``model`` lose at this step, as scalars to log; a number beyond its limit costs an `InvertibilityWarning` that names the layer.

    The largest round-trip error on the first validation examples and on inputs far off the data, the largest gains of g and g^-1, and collisions; of gx and gy
    the worse one. Infinities and NaN become None. Weights, modes, gradients and random state stay as they are, and no error stops training.
    """
    with _undisturbed(model, device):
        try:
            return _measure(_watched(model, splits, config, seed, device), config, step)
        # Out of memory in one measurement, a layer not initialised yet: training goes on without a number.
        except (LinearizerError, RuntimeError) as error:
            warnings.warn(f"step {step}: invertibility was not measured: {error}", InvertibilityWarning, stacklevel=2)
            return {}


def _measure(watched: list[_Watched], config: MonitorConfig, step: int) -> dict[str, float | None]:
    values: dict[str, float] = {}
    worst: dict[str, _Watched] = {}

    def note(name: str, value: float, one: _Watched) -> None:
        value = math.inf if math.isnan(value) else value
        if value >= values.get(name, -math.inf):
            values[name], worst[name] = value, one

    for one in watched:
        few, condition = one.data[:_GAIN_EXAMPLES], _first(one.condition, _GAIN_EXAMPLES)
        gains = gain(one.bijection, few, condition, iterations=_ITERATIONS)
        found = collisions(one.bijection, one.data, one.condition)
        note("round_trip", round_trip(one.bijection, one.data, one.condition).relative.maximum, one)
        note("round_trip_off_data", round_trip(one.bijection, one.off_data, one.condition).relative.maximum, one)
        note("gain", float(gains.forward.max()), one)
        if one.bijection.inverse_grad != "none":
            note("gain_inverse", float(gains.inverse.max()), one)
        note("collisions", found.count, one)
    _warn(values, worst, config, step)
    return {f"monitor_{name}": value if math.isfinite(value) else None for name, value in values.items()}


def _warn(values: dict[str, float], worst: dict[str, _Watched], config: MonitorConfig, step: int) -> None:
    """At most one warning of each kind."""
    trip = max(("round_trip", "round_trip_off_data"), key=lambda name: values[name])
    if values[trip] > config.tolerance:
        one = worst[trip]
        where, x = ("the data", one.data) if trip == "round_trip" else ("inputs far off the data", one.off_data)
        layer = worst_layer(one.bijection, x, one.condition, name=one.name, iterations=_ITERATIONS)
        _emit(step, f"{one.name}: round trip on {where} is off by {values[trip]:.1e} of their size, tolerance {config.tolerance:.1e}", layer)
    steepest = max(("gain", "gain_inverse"), key=lambda name: values.get(name, 0.0))
    if values[steepest] > config.gain_limit:
        one = worst[steepest]
        few, condition = one.data[:_GAIN_EXAMPLES], _first(one.condition, _GAIN_EXAMPLES)
        layer = worst_layer(one.bijection, few, condition, by="gain", name=one.name, iterations=_ITERATIONS)
        direction = "forward" if steepest == "gain" else "of the inverse"
        _emit(step, f"{one.name}: gain {direction} is {values[steepest]:.1e}, limit {config.gain_limit:.1e}", layer)
    if values["collisions"]:
        one = worst["collisions"]
        layer = worst_layer(one.bijection, one.data, one.condition, name=one.name, iterations=_ITERATIONS)
        _emit(step, f"{one.name}: {values['collisions']:.0f} pairs of distinct inputs share a latent, expected none", layer)


def _emit(step: int, found: str, layer: object) -> None:
    text = f"step {step}: {found}; worst layer: {layer}. Bound its scale or its Lipschitz constant, lower the learning rate, or use additive couplings"
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


def _first(condition: Condition | None, count: int) -> Condition | None:
    return None if condition is None else Condition(**{name: tensor[:count] for name, tensor in condition.items()})


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
