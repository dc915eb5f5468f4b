"""A run configuration as a TOML file with ``key=value`` overrides: read, and written back. Torch-free."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit

from linearizer_core.config import RunConfig
from linearizer_core.errors import ConfigError
from linearizer_core.factory import validate_components
from linearizer_core.validation import NONE, join_problems, validate


def load_config(path: Path | str, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a TOML file, apply ``key=value`` overrides in order, and validate all of it, the options of every component included.

    A key is a dotted path (``training.seed=3``, ``backbone.dense.width=512``); a value is a TOML literal, anything else a string.

    Raises:
        ConfigError: naming the file and each key, the value, what was expected and the nearest valid key.
    """
    path = Path(path)
    values = _read(path)
    where = str(path)
    for override in overrides:
        _apply(values, override, where)
    if overrides:
        where += f" with {' '.join(overrides)}"
    config = validate(RunConfig, values, where=where)
    if problems := validate_components(config):
        raise ConfigError(join_problems(problems, where))
    return config


def dump_config(config: RunConfig) -> str:
    """The configuration as TOML text, every default of `RunConfig` written out; `load_config` reads it back to an equal one.

    Example:
        >>> names = {part: {"name": part} for part in ("task", "backbone", "core", "data")}
        >>> config = RunConfig.model_validate({**names, "training": {"output": "runs/x"}})
        >>> print(dump_config(config).splitlines()[0])
        [task]
    """
    return toml_text(config.model_dump(mode="json"))


def toml_text(values: Mapping[str, Any]) -> str:
    """JSON values as TOML, with ``"none"`` where they hold null."""
    return tomlkit.dumps(_without_null(dict(values)))


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """``key=value`` overrides as nested values, for the configuration of one component.

    Raises:
        ConfigError: for an override without a key or an equals sign, or one inside a value that is no table.

    Example:
        >>> parse_overrides(["dense.width=32", "mixing=cayley"])
        {'dense': {'width': 32}, 'mixing': 'cayley'}
    """
    values: dict[str, Any] = {}
    for override in overrides:
        _apply(values, override, "options")
    return values


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return NONE if value is None else value


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; give the path of a TOML file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}; strings need quotes, tables a [header]") from error


def _apply(values: dict[str, Any], override: str, where: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"{where}: override {override!r} is malformed; write key=value with a dotted key, such as training.seed=3")
    table = values
    for depth, part in enumerate(parts[:-1], start=1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            parent = ".".join(parts[:depth])
            raise ConfigError(f"{where}: override {override!r}: {parent} is {table!r}, not a table; give {parent} a whole value instead")
    table[parts[-1]] = _literal(text.strip())


def _literal(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if len(parsed) == 1 else text
