"""Tensors of a model and of its optimiser, by name, into and out of checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from linearizer_core.errors import CheckpointError

__all__ = ["load_model", "load_optimizer", "model_tensors", "optimizer_tensors"]

_SEPARATOR = "|"


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """All parameters and persistent buffers by name; one that is reachable under several names (tied modules) appears once."""
    seen: set[int] = set()
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor
    return tensors


@torch.no_grad()
def load_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite the model in place.

    Raises:
        CheckpointError: when names, shapes or types differ.
    """
    own = model_tensors(model)
    strange = sorted(own.keys() ^ tensors.keys())
    strange += [name for name in own if name in tensors and (own[name].shape != tensors[name].shape or own[name].dtype != tensors[name].dtype)]
    if strange:
        raise CheckpointError(
            f"the checkpoint holds another model: {len(strange)} tensors are missing, unknown or of another shape or type, first {strange[0]!r}; "
            "resume with the configuration and the version that wrote it"
        )
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The state of an optimiser with one parameter group, whose parameters have these ``names`` in this order, as ``parameter|entry``."""
    state: dict[int, dict[str, Tensor]] = optimizer.state_dict()["state"]
    return {f"{names[index]}{_SEPARATOR}{key}": value for index, entries in state.items() for key, value in entries.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    state: dict[int, dict[str, Any]] = {}
    parameters = optimizer.param_groups[0]["params"]
    for key, value in tensors.items():
        name, entry = key.rsplit(_SEPARATOR, 1)
        index = names.index(name)
        # Fused optimisers go through memory: moments need the strides of their parameter, which a file does not keep.
        state.setdefault(index, {})[entry] = torch.empty_like(parameters[index], dtype=value.dtype).copy_(value) if value.ndim else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
