"""The weights of a model as safetensors: what is shared once, all of it or an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from linearizer_core.errors import ArtifactError
from linearizer_core.model import LinearizerModel
from linearizer_core.tensor_files import read_tensors


def round_weights(model: LinearizerModel) -> None:
    """Round all float32 parameters and buffers to numbers that float16 holds too, in place: stored in half the size they keep their bits.

    Raises:
        ArtifactError: for a number beyond the range of float16.
    """
    for name, tensor in model.state_dict().items():
        if tensor.dtype == torch.float32:
            rounded = tensor.half().float()
            if not bool((rounded.isfinite() == tensor.isfinite()).all()):
                raise ArtifactError(f"{name} reaches {float(tensor.abs().max()):.3g}, float16 holds numbers up to 65504; save float32 weights")
            tensor.copy_(rounded)


def save_weights(model: LinearizerModel, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """All parameters and buffers as safetensors, float32 ones in ``dtype``; what is shared is written once."""
    # safetensors.torch.save_model fails on a shared module with a tensor that is not contiguous, such as the matrix of a QR decomposition.
    state = model.state_dict()
    once = sorted({min(group) for group in _tied_names(state).values()})
    tensors = {name: state[name].cpu().clone(memory_format=torch.contiguous_format) for name in once}
    require_numbers(model, tensors, path)
    save_file({name: tensor.to(_stored(tensor.dtype, dtype)) for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def load_weights(model: LinearizerModel, path: Path, dtype: torch.dtype = torch.float32) -> None:
    """Strict: `ArtifactError` unless the file holds exactly the tensors of the model, in shape and dtype, float32 ones in ``dtype``, all of them numbers."""
    stored, _ = read_tensors(path)
    wanted = model.state_dict()
    tied = _tied_names(wanted)
    missing = sorted(name for name, group in tied.items() if not group & stored.keys())
    extra = sorted(stored.keys() - wanted.keys())
    if missing or extra:
        raise ArtifactError(f"{path} does not fit its config.json: missing {missing[:3]}, unexpected {extra[:3]}; one of the two files was replaced")
    for name, tensor in stored.items():
        expected = _stored(wanted[name].dtype, dtype)
        if tensor.shape != wanted[name].shape or tensor.dtype != expected:
            raise ArtifactError(
                f"{path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)}, the model of config.json needs {expected} "
                f"of shape {tuple(wanted[name].shape)}; one of the two files was replaced"
            )
    require_numbers(model, stored, path)
    model.load_state_dict(stored, strict=False)


def require_numbers(model: LinearizerModel, tensors: Mapping[str, Tensor], path: Path) -> None:
    """`ArtifactError` for NaN among ``tensors``, and for infinities among those that are parameters of ``model``; buffers may hold some, such as log 0."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name, tensor in tensors.items():
        broken = ~tensor.isfinite() if name in parameters else tensor.isnan()
        if bool(broken.any()):
            raise ArtifactError(f"{path}: {int(broken.sum())} of {tensor.numel()} numbers of {name} are not finite: training diverged, or the file is damaged")


def _stored(dtype: torch.dtype, weights: torch.dtype) -> torch.dtype:
    return weights if dtype == torch.float32 else dtype


def _tied_names(state: Mapping[str, Tensor]) -> dict[str, set[str]]:
    """For each name, all names of the same tensor: a module used twice is saved once."""
    groups: dict[object, set[str]] = {}
    keys = {name: (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name for name, tensor in state.items()}
    for name, key in keys.items():
        groups.setdefault(key, set()).add(name)
    return {name: groups[key] for name, key in keys.items()}
