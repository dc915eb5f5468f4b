"""Frozen models of timm, for distances and features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from linearizer_core.errors import ConfigError, DataError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""What timm's models of natural images expect their input to be normalised with."""


def frozen_timm_model(name: str, weights: Path | None, *, option: str, **options: Any) -> nn.Module:
    """A model of timm in evaluation mode without gradients of its weights.

    Args:
        name: as in ``timm.list_models()``.
        weights: local safetensors file with timm's key names; those that the model lacks, such as a classifier's, are left aside. From the Hub when None.
        option: the table of the configuration that asks for it, for messages.
        options: of ``timm.create_model``.

    Raises:
        ConfigError: when timm has no such model.
        DataError: when the weights cannot be fetched or read, or do not fit the model.
        ModuleNotFoundError: without timm, which the extra ``timm`` installs.
    """
    import timm

    if not timm.is_model(name):
        raise ConfigError(f"timm has no model {name!r}; timm.list_models() names them all")
    try:
        model: nn.Module = timm.create_model(name, pretrained=weights is None, **options)
    except (OSError, RuntimeError, ValueError) as error:  # no network, no pretrained weights, or a kind of model without feature maps
        raise DataError(
            f"{option}.model = {name!r} cannot be made: {error}; with network access its weights come from the Hub, without it set "
            f"{option}.weights to a safetensors file"
        ) from error
    if weights is not None:
        _load(model, name, weights, option)
    return model.eval().requires_grad_(False)


def _load(model: nn.Module, name: str, weights: Path, option: str) -> None:
    try:
        tensors: dict[str, Tensor] = load_file(str(weights))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"{option}.weights = {weights} cannot be read as safetensors ({error}); save the model's weights with safetensors.torch.save_file"
        ) from error
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in tensors]
    if missing:
        raise DataError(f"{weights} lacks {len(missing)} tensors of {name}, the first is {missing[0]!r}; save the weights under timm's key names")
    try:
        model.load_state_dict({key: tensors[key] for key in wanted})
    except RuntimeError as error:
        raise DataError(f"{weights} does not fit {name}: {error}; name the model the weights were saved from") from error
