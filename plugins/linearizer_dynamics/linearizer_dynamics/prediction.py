"""States at any time from one state."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.cores import GeneratorCore
from linearizer_core.errors import ConfigError, ShapeMismatchError
from linearizer_core.model import LinearizerModel


def generator_of(model: LinearizerModel) -> GeneratorCore:
    """The core of a model of dynamics.

    Raises:
        ConfigError: for a core that generates no flow.
    """
    if not isinstance(model.core, GeneratorCore):
        raise ConfigError(f"the dynamics task needs a core that generates a flow, {type(model.core).__name__} does not; set core.name = 'generator'")
    return model.core


def pad(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """States ``(N, n, ...)`` with zeros appended along their first dimension: ``(N, *shape)``."""
    return functional.pad(x, (0, 0) * (x.ndim - 2) + (0, shape[0] - x.shape[1]))


def encode(model: LinearizerModel, states: Tensor) -> Tensor:
    """Latents ``(B, T, D)`` of states ``(B, T, *shape)``, padded ones too."""
    latents = model.domain().to_latent(pad(states.flatten(0, 1), model.gx.in_shape))
    return latents.reshape(*states.shape[:2], -1)


def decode(model: LinearizerModel, latents: Tensor) -> Tensor:
    """Padded states ``(B, T, *gx.in_shape)`` of latents ``(B, T, D)``."""
    states = model.domain().from_latent(latents.flatten(0, 1))
    return states.reshape(*latents.shape[:2], *states.shape[1:])


def rollout(core: GeneratorCore, start: Tensor, times: Tensor, control: Tensor | None = None) -> Tensor:
    """Latents ``(B, T, D)`` at ``times`` ``(B, T)`` after ``start`` ``(B, D)``; under ``control`` ``(B, T, m)``, the input up to each of increasing times.

    Raises:
        ShapeMismatchError: for a core that is driven without inputs, or inputs for one that takes none.
    """
    if control is None:
        if core.controls:
            raise ShapeMismatchError(f"the core takes {core.controls} control inputs, none is given; give a control, or set core.controls = 0")
        return core.evolve(start[:, None], times)
    states = []
    for length, inputs in zip(times.diff(dim=1, prepend=torch.zeros_like(times[:, :1])).unbind(1), control.unbind(1), strict=True):
        start = core.drive(start, length, inputs)
        states.append(start)
    return torch.stack(states, dim=1)


def predict(model: LinearizerModel, x0: Tensor, times: Tensor, control: Tensor | None = None) -> Tensor:
    r"""States :math:`g^{-1}(e^{tA} g(x_0))` at ``times`` ``(T,)`` or ``(B, T)``, any real numbers, from ``x0`` ``(B, *shape)``: ``(B, T, *shape)``.

    Arguments:
        control: inputs ``(B, T, m)`` up to each of the times, which then increase from 0.

    Raises:
        ConfigError: for a model without generator.
        ShapeMismatchError: where states, times and inputs do not fit together.
    """
    core = generator_of(model)
    wide = times.expand(len(x0), -1)
    latents = rollout(core, encode(model, x0[:, None])[:, 0], wide, control)
    return decode(model, latents.to(x0.dtype))[:, :, : x0.shape[1]]
