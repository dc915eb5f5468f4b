"""Which keys differ between two nested configurations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["differing_keys"]

_ABSENT = "absent"


def differing_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """``key: before -> now`` for each dotted key that differs, joined by commas; empty when nothing does.

    Example:
        >>> differing_keys({"seed": 0, "data": {"root": "a"}}, {"seed": 1, "data": {"root": "a"}})
        'seed: 0 -> 1'
    """
    old, new = _flatten(before), _flatten(now)
    keys = [key for key in sorted(old.keys() | new.keys()) if old.get(key, _ABSENT) != new.get(key, _ABSENT)]
    return ", ".join(f"{key}: {old.get(key, _ABSENT)} -> {new.get(key, _ABSENT)}" for key in keys)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            # Tuples become lists on their way through JSON and TOML.
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat
