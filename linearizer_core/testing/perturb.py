"""Moves a fresh module away from its start, where zero-initialised layers hide mistakes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

AMPLITUDE = 0.2

M = TypeVar("M", bound=nn.Module)


@torch.no_grad()
def perturb(module: nn.Module) -> None:
    r"""Add Gaussian noise to every trained parameter, of standard deviation :math:`0.2 \max(\mathrm{rms}, 1/\sqrt{\text{fan in}})`.

    A weight that is already there moves by a fifth of its size; one that starts at zero gets a fifth of the size that initialisation usually gives.
    A vector, such as a bias or a scale, counts as having one input.

    Example:
        >>> layer = torch.nn.Linear(100, 100)
        >>> _ = torch.nn.init.zeros_(layer.weight)
        >>> perturb(layer)
        >>> 0.015 < layer.weight.std().item() < 0.025
        True
    """
    for parameter in module.parameters():
        if parameter.requires_grad and parameter.is_floating_point() and parameter.numel():
            inputs = parameter[0].numel() if parameter.ndim > 1 else 1
            size = max(float(parameter.square().mean().sqrt()), inputs**-0.5)
            parameter.add_(AMPLITUDE * size * torch.randn_like(parameter))


def moved(make: Callable[[], M], see_data: Callable[[M], Any], *, seed: int = 0) -> M:
    """A module in float64 as it is after some training, in evaluation mode.

    It sees one batch in training mode, for layers that are set from data, then its parameters move, then it sees one more, for layers
    that keep statistics of their weights.
    """
    module = fresh(make, seed=seed).train()
    with torch.no_grad():
        see_data(module)
        perturb(module)
        see_data(module)
    return module.eval()


def fresh(make: Callable[[], M], *, seed: int) -> M:
    """A new module in float64, drawn from a seed."""
    torch.manual_seed(seed)
    return make().double()
