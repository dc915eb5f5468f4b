"""The folder in which a linearizer is saved: its files, how they are written, and what is refused when they are read.

The folder is the same everywhere (run, registry, Hub repository)::

    config.json           what to build: task, backbone, core, data shape, where it came from, and the digests of the two files with tensors
    model.safetensors     all weights
    operator.safetensors  the collapsed operator, where the task has one
    collapse.json         how the many steps of a flow became that operator, and what it is
    metrics.json          what was measured
    notes.json            what each metric means and each picture shows, in words
    training.jsonl        what was logged while it was trained
    examples.png          a few test examples, where they are images
    *.png                 pictures for the card
    README.md             the card

Loading reads JSON and safetensors only. It runs no code from the folder and imports nothing that an installed plugin did not register.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from linearizer_core import plugins
from linearizer_core.collapse import CollapseReport
from linearizer_core.config import CollapseConfig, Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.errors import ArtifactError

FORMAT_VERSION = 1
LARGEST_CONFIG = 2**18
LARGEST_JSON = 4 * 2**20
LARGEST_LOG = 200 * 2**10
LARGEST_PICTURE = 4 * 2**20
MOST_PICTURES = 32
PICTURE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.png")
LOG = "training.jsonl"
_LARGEST_INTEGER = 2**63
_FILES = frozenset({"config.json", "model.safetensors", "operator.safetensors", "collapse.json", "metrics.json", "notes.json", LOG, "README.md"})
_PNG = b"\x89PNG\r\n\x1a\n"


class PluginOrigin(BaseModel):
    """The distribution that provided a component when the model was saved."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Shown to users as what to install: names and versions as package indexes have them, and nothing else.
    component: str = Field(pattern=r"^[a-z]{1,20}$")
    distribution: str = Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$")
    version: str = Field(pattern=r"^[A-Za-z0-9.!+_-]{1,100}$")


class Hardware(BaseModel):
    """What a run was computed on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    name: str
    cpu_cores: int | None
    threads: int


class TrainingRecord(BaseModel):
    """The run that made the weights: the tables ``data`` and ``training`` of its configuration, and the facts of its ``run.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data: dict[str, JsonValue]
    training: dict[str, JsonValue]
    steps: int
    seconds: dict[str, float] = Field(description="by stage")
    mixed_precision: str
    processes: int
    hardware: Hardware
    versions: dict[str, str]


class ArtifactConfig(BaseModel):
    """What ``config.json`` holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["linearizer"] = "linearizer"
    format_version: int = FORMAT_VERSION
    model: ModelConfig
    data: DataInfo
    collapse: CollapseConfig | None = None
    seed: int = 0
    commit: str | None = None
    training: TrainingRecord | None = None
    weights: Literal["float32", "float16"] = "float32"
    plugins: tuple[PluginOrigin, ...] = ()
    sha256: dict[Literal["model.safetensors", "operator.safetensors"], str] = {}


def installed_origins(config: ModelConfig) -> tuple[PluginOrigin, ...]:
    """What the parts of a model are made by on this machine.

    Raises:
        UnknownNameError: for a part that no usable plugin registered.
    """
    parts: dict[str, tuple[plugins.ComponentKind, Component]] = {
        "task": ("task", config.task),
        "backbone": ("backbone", config.backbone),
        "core": ("operator", config.core),
    }
    statuses = {part: plugins.provider(kind, chosen.name) for part, (kind, chosen) in parts.items()}
    return tuple(PluginOrigin(component=part, distribution=status.distribution, version=status.version) for part, status in statuses.items())


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file with tensors in ``folder``, by name."""
    found = {}
    for name in ("model.safetensors", "operator.safetensors"):
        if (folder / name).exists():
            with (folder / name).open("rb") as file:
                found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def check_digests(folder: Path, config: ArtifactConfig) -> None:
    """`ArtifactError` where a file with tensors is not the one that was saved with ``config``: what still loads may hold other numbers."""
    found, saved = digests(folder), {str(name): digest for name, digest in config.sha256.items()}
    for name in sorted(found.keys() | saved.keys()):
        if found.get(name) != saved.get(name):
            state = "missing" if name not in found else "not the file that was saved"
            raise ArtifactError(f"{folder / name} is {state} (its SHA-256 is not the one in config.json); fetch or save the artifact again")


def check_files(folder: Path) -> None:
    """`ArtifactError` for a file of ``folder`` that is no regular one, or a link out of it, other than into the cache of the Hub, to which a snapshot leads.

    A link elsewhere would make a private file part of the model, and of what is published of it.
    """
    home = Path(os.path.realpath(folder))
    repository = home.parent.parent
    places = [home, repository / "blobs", repository.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        path = folder / name
        if name not in _FILES and path.suffix != ".png":
            continue
        if not any(Path(os.path.realpath(path)).is_relative_to(place) for place in places):
            raise ArtifactError(f"{path} is a link to {os.path.realpath(path)}, which is outside; put the file itself there")
        if not path.is_file():
            raise ArtifactError(f"{path} is no regular file; remove it, or fetch the artifact again")


def require_replaceable(folder: Path) -> None:
    """Raise `ArtifactError` unless ``folder`` is absent, empty, or a saved linearizer."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    # What is replaced is deleted: a folder that merely has some config.json, as many do, must not be.
    config = folder / "config.json"
    if not config.exists() or read_json(config).get("format") != "linearizer":
        raise ArtifactError(f"{folder} exists and is not a saved linearizer (no config.json of format 'linearizer'); choose another folder")


def swap(staging: Path, folder: Path) -> None:
    """Put the complete folder ``staging`` in the place of ``folder``; where that fails, the old one stays."""
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


def read_config(folder: Path) -> ArtifactConfig:
    """The validated ``config.json`` of a folder; `ArtifactError` for anything else."""
    path = folder / "config.json"
    if not path.exists():
        raise ArtifactError(f"{folder} is not a saved linearizer: it has no config.json; give the folder that save_pretrained or training wrote")
    values = read_json(path, LARGEST_CONFIG)
    if values.get("format") != "linearizer":
        raise ArtifactError(f"{path} has format {values.get('format')!r}, expected 'linearizer'; this is not a saved linearizer")
    version = values.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ArtifactError(f"{path} has format version {version!r}, this release reads 1 to {FORMAT_VERSION}; upgrade with: pip install -U linearizer")
    try:
        return ArtifactConfig.model_validate(values)
    except ValidationError as error:
        raise _invalid(path, error) from error


def _invalid(path: Path, error: ValidationError) -> ArtifactError:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(map(str, first["loc"]))
    return ArtifactError(f"{path}: {key}: {first['msg']}; the file was edited or damaged, restore it")


def read_json(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """A JSON object of at most ``largest`` bytes, with finite numbers, whole ones of 64 bits, each key once, and text that UTF-8 can hold.

    Raises:
        ArtifactError: for anything else.
    """
    return _parsed(_text(path, largest), str(path))


def read_json_lines(path: Path, largest: int) -> list[dict[str, Any]]:
    """JSON objects, one a line, each as `read_json` reads it; `ArtifactError` for anything else."""
    lines = _text(path, largest).removesuffix("\n").split("\n")
    return [_parsed(line, f"{path}, line {number},") for number, line in enumerate(lines, 1)]


def _text(path: Path, largest: int) -> str:
    if not path.exists():
        raise ArtifactError(f"{path} is missing; the artifact is incomplete, fetch or save it again")
    if not path.is_file():  # a pipe would be read for ever
        raise ArtifactError(f"{path} is no regular file, expected JSON; fetch or save it again")
    if path.stat().st_size > largest:
        raise ArtifactError(f"{path} has {path.stat().st_size} bytes, expected at most {largest}; it is not ours")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read as JSON ({error}); it is truncated or damaged, restore it") from error


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(text, parse_int=_bounded, object_pairs_hook=_with_each_key_once)
        json.dumps(values, allow_nan=False, ensure_ascii=False).encode()  # infinities, NaN and lone surrogates cannot be written
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{where} cannot be read as JSON ({error}); it is truncated or damaged, restore it") from error
    if not isinstance(values, dict):
        raise ArtifactError(f"{where} holds a {type(values).__name__}, expected an object; restore it")
    return values


def _bounded(digits: str) -> int:
    value = int(digits)
    if not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise ValueError(f"a whole number of {len(digits)} digits, expected 64 bits")
    return value


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return values


def read_report(folder: Path) -> CollapseReport | None:
    """The validated ``collapse.json`` of a folder, None where there is none; `ArtifactError` for anything else."""
    path = folder / "collapse.json"
    if not path.exists():
        return None
    try:
        return CollapseReport.model_validate(read_json(path))
    except ValidationError as error:
        raise _invalid(path, error) from error


def read_notes(folder: Path) -> dict[str, str]:
    """The notes of a folder by name of metric or picture, none where there is no such file; `ArtifactError` for values that are no text."""
    path = folder / "notes.json"
    if not path.exists():
        return {}
    try:
        return TypeAdapter(dict[str, str]).validate_python(read_json(path))
    except ValidationError as error:
        raise _invalid(path, error) from error


def read_pictures(folder: Path) -> dict[str, bytes]:
    """The pictures of a folder by name; `ArtifactError` for too many, and where `check_picture` raises it."""
    paths = sorted(folder.glob("*.png"))
    if len(paths) > MOST_PICTURES:
        raise ArtifactError(f"{folder} has {len(paths)} pictures, expected at most {MOST_PICTURES}; remove some")
    pictures = {}
    for path in paths:
        if not path.is_file() or path.stat().st_size > LARGEST_PICTURE:
            raise ArtifactError(f"{path} is no file of at most {LARGEST_PICTURE} bytes; remove it")
        pictures[path.name] = path.read_bytes()
        check_picture(path.name, pictures[path.name])
    return pictures


def check_picture(name: str, content: bytes) -> None:
    """`ArtifactError` for a name that may lead elsewhere or break the card, and for what is no PNG or too large."""
    if not PICTURE_NAME.fullmatch(name) or not content.startswith(_PNG) or len(content) > LARGEST_PICTURE:
        raise ArtifactError(
            f"picture {name!r} of {len(content)} bytes, expected a PNG file of at most {LARGEST_PICTURE}, its name of letters, digits, - and _; "
            "remove or rename it"
        )
