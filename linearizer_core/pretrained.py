"""A trained linearizer: task and model, and the folder they are saved in.

The folder is the same everywhere (run, registry, Hub repository)::

    config.json           what to build: task, backbone, core, data shape, and where it came from
    model.safetensors     all weights
    operator.safetensors  the collapsed operator, where the task has one
    metrics.json          what was measured
    README.md             the card

Loading reads JSON and safetensors only. It runs no code from the folder and imports nothing that an installed plugin did not register.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from linearizer_core import plugins
from linearizer_core.card import render_card
from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.errors import ArtifactError, LinearizerError, PluginError
from linearizer_core.factory import create_backbone, create_core, create_task
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, load_operator, save_operator
from linearizer_core.task import BuildContext, Task
from linearizer_core.training.files import write_json, write_text

FORMAT_VERSION = 1
LOCAL_PREFIX = "local-dir:"
HUB_PREFIX = "hf-hub:"
_LARGEST_JSON = 4 * 2**20


class PluginOrigin(BaseModel):
    """The distribution that provided a component when the model was saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    component: str
    distribution: str
    version: str


class ArtifactConfig(BaseModel):
    """What ``config.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["linearizer"] = "linearizer"
    format_version: int = FORMAT_VERSION
    model: ModelConfig
    data: DataInfo
    seed: int = 0
    commit: str | None = None
    plugins: tuple[PluginOrigin, ...] = ()


def build_model(config: ModelConfig, info: DataInfo, seed: int = 0) -> tuple[Task, LinearizerModel]:
    """Make a task and its untrained model from their configuration; the same seed gives the same weights.

    Raises:
        UnknownNameError, ConfigError, TargetError: when a component is not registered, not configured right, or not what its spec says.
    """
    task = create_task(config.task.name, **config.task.options)
    context = BuildContext(
        info=info,
        backbone=lambda shape, conditions: create_backbone(config.backbone.name, shape, conditions=conditions, **config.backbone.options),
        core=lambda shape, conditions: create_core(config.core.name, shape, conditions=conditions, **config.core.options),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return task, task.build(context)


@dataclass(frozen=True)
class Pretrained:
    """A task, its model, and what is known about them.

    Example:
        >>> pretrained = Pretrained.from_pretrained("runs/quickstart/model")  # doctest: +SKIP
        >>> images = pretrained.sample(16, seed=0, label=3)  # doctest: +SKIP
    """

    task: Task
    model: LinearizerModel
    config: ArtifactConfig
    metrics: Mapping[str, Any] = field(default_factory=dict)
    operator: LinearOperator | None = None

    def __post_init__(self) -> None:
        # In the layout in which it is stored: with other strides the same product may round otherwise, and a loaded model would give other bits.
        if self.operator is not None:
            stored = {name: tensor.detach().contiguous() for name, tensor in self.operator.tensors().items()}
            object.__setattr__(self, "operator", type(self.operator).from_tensors(stored))

    def sample(self, n: int, *, seed: int = 0, **options: Any) -> Tensor:
        """``n`` examples ``(n, *shape)``; the options are those of the task, such as ``steps``, ``label`` and ``temperature`` of a flow.

        Raises:
            ConfigError: for an option the task does not know, or a value out of range.
        """
        generator = torch.Generator(next(self.model.parameters()).device).manual_seed(seed)
        with torch.no_grad():
            return self.task.sample(self.model, n, generator, options, operator=self.operator)

    def linearizer(self, condition: Condition | None = None) -> Linearizer:
        """The map itself, with the collapsed operator where there is one: everything the algebra offers applies to it."""
        return self.model.linearizer(self.operator, condition)

    def save_pretrained(self, folder: Path | str) -> Path:
        """Write the folder described above, all of it or nothing: an existing artifact is replaced once the new one is complete.

        Raises:
            ArtifactError: when ``folder`` holds something that is not an artifact, or when the weights are not float32.
        """
        folder = Path(folder)
        _require_replaceable(folder)
        if strange := {str(parameter.dtype) for parameter in self.model.parameters()} - {"torch.float32"}:
            raise ArtifactError(f"the model has parameters of {', '.join(sorted(strange))}, an artifact holds torch.float32; call model.float() before saving")
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            config = self.config.model_copy(update={"plugins": _origins(self.config.model)})
            write_json(staging / "config.json", config.model_dump(mode="json"))
            write_json(staging / "metrics.json", dict(self.metrics))
            write_text(staging / "README.md", render_card(config, self.metrics))
            _save_weights(self.model, staging / "model.safetensors")
            if self.operator is not None:
                save_operator(staging / "operator.safetensors", self.operator)
            staging.chmod(0o755)
            _swap(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return folder

    @classmethod
    def from_pretrained(cls, folder: Path | str, *, device: torch.device | str = "cpu") -> Pretrained:
        """Load a folder written by `save_pretrained`. Strict: missing, extra or ill-shaped tensors and unknown keys are refused.

        Raises:
            ArtifactError: when the folder is not an artifact, or one that is truncated, edited, pickled or of a future format.
            UnknownNameError: when it needs a plugin that is not installed.
        """
        folder = Path(folder)
        config = _read_config(folder)
        try:
            task, model = build_model(config.model, config.data, config.seed)
        except PluginError as error:
            origins = ", ".join(f"{origin.component} from {origin.distribution} {origin.version}" for origin in config.plugins)
            raise type(error)(f"{folder} was saved with {origins or 'unknown plugins'}: {error}") from error
        except LinearizerError as error:
            raise ArtifactError(f"{folder}/config.json describes a model that cannot be built: {error}") from error
        _load_weights(model, folder / "model.safetensors")
        stored = folder / "operator.safetensors"
        operator = load_operator(stored).to(device=device) if stored.exists() else None
        if operator is not None and operator.shape != model.core.shape:
            raise ArtifactError(f"{stored} has shape {operator.shape}, the model needs {model.core.shape}; it belongs to another model")
        return cls(task, model.to(device).eval(), config, _read_json(folder / "metrics.json"), operator)


def load(uri: str, *, device: torch.device | str = "cpu") -> Pretrained:
    """Load a pretrained linearizer: ``local-dir:PATH``, a folder saved by `Pretrained.save_pretrained`, or a run folder that holds one.

    Raises:
        ArtifactError: for a bare path, another scheme, or a folder that cannot be loaded.
    """
    if not uri.startswith(LOCAL_PREFIX):
        raise ArtifactError(f"{uri!r}: write {LOCAL_PREFIX}PATH for a folder on this machine; {HUB_PREFIX}org/name is not offered yet")
    return Pretrained.from_pretrained(artifact_folder(Path(uri.removeprefix(LOCAL_PREFIX))), device=device)


def uri_of(text: str) -> str:
    """A URI from what a user typed: a folder that exists means ``local-dir:`` that folder."""
    return LOCAL_PREFIX + text if Path(text).is_dir() else text


def artifact_folder(path: Path) -> Path:
    """The artifact in ``path``: the folder itself, or ``path/model`` where ``path`` is a run folder."""
    return path if (path / "config.json").exists() or not (path / "model" / "config.json").exists() else path / "model"


def _origins(config: ModelConfig) -> tuple[PluginOrigin, ...]:
    parts: dict[str, tuple[plugins.ComponentKind, Component]] = {
        "task": ("task", config.task),
        "backbone": ("backbone", config.backbone),
        "core": ("operator", config.core),
    }
    origins = []
    for component, (kind, chosen) in parts.items():
        status = plugins.provider(kind, chosen.name)
        origins.append(PluginOrigin(component=component, distribution=status.distribution, version=status.version))
    return tuple(origins)


def _require_replaceable(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    # What is replaced is deleted: a folder that merely has some config.json, as many do, must not be.
    config = folder / "config.json"
    if not config.exists() or _read_json(config).get("format") != "linearizer":
        raise ArtifactError(f"{folder} exists and is not a saved linearizer (no config.json of format 'linearizer'); choose another folder")


def _swap(staging: Path, folder: Path) -> None:
    if not folder.exists():
        staging.rename(folder)
        return
    old = staging.with_name(staging.name + "-old")
    folder.rename(old)
    try:
        staging.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old)


def _read_config(folder: Path) -> ArtifactConfig:
    path = folder / "config.json"
    if not path.exists():
        raise ArtifactError(f"{folder} is not a saved linearizer: it has no config.json; give the folder that save_pretrained or training wrote")
    values = _read_json(path)
    if values.get("format") != "linearizer":
        raise ArtifactError(f"{path} has format {values.get('format')!r}, expected 'linearizer'; this is not a saved linearizer")
    version = values.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ArtifactError(f"{path} has format version {version!r}, this release reads 1 to {FORMAT_VERSION}; upgrade with: pip install -U linearizer")
    try:
        return ArtifactConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise ArtifactError(f"{path}: {key}: {first['msg']}; the file was edited or damaged, restore it") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ArtifactError(f"{path} has {path.stat().st_size} bytes, expected at most {_LARGEST_JSON}; it is not ours")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing; the artifact is incomplete, fetch or save it again") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON ({error}); it is truncated or damaged, restore it") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{path} holds a {type(values).__name__}, expected an object; restore it")
    return values


def _save_weights(model: LinearizerModel, path: Path) -> None:
    # safetensors.torch.save_model fails on a shared module with a tensor that is not contiguous, such as the matrix of a QR decomposition.
    state = model.state_dict()
    once = sorted({min(group) for group in _tied_names(state).values()})
    save_file({name: state[name].cpu().clone(memory_format=torch.contiguous_format) for name in once}, path, metadata={"format": "pt"})


def _load_weights(model: LinearizerModel, path: Path) -> None:
    if not path.exists():
        raise ArtifactError(f"{path} is missing; the artifact is incomplete, fetch or save it again")
    try:
        stored = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ArtifactError(f"{path} cannot be read as safetensors ({error}); it is truncated, damaged or a pickle, fetch or save it again") from error
    wanted = model.state_dict()
    tied = _tied_names(wanted)
    missing = sorted(name for name, group in tied.items() if not group & stored.keys())
    extra = sorted(stored.keys() - wanted.keys())
    if missing or extra:
        raise ArtifactError(f"{path} does not fit its config.json: missing {missing[:3]}, unexpected {extra[:3]}; one of the two files was replaced")
    for name, tensor in stored.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            raise ArtifactError(
                f"{path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)}, the model of config.json needs {wanted[name].dtype} "
                f"of shape {tuple(wanted[name].shape)}; one of the two files was replaced"
            )
    model.load_state_dict(stored, strict=False)


def _tied_names(state: Mapping[str, Tensor]) -> dict[str, set[str]]:
    """For each name, all names of the same tensor: a module used twice is saved once."""
    groups: dict[object, set[str]] = {}
    keys = {name: (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name for name, tensor in state.items()}
    for name, key in keys.items():
        groups.setdefault(key, set()).add(name)
    return {name: groups[key] for name, key in keys.items()}
