"""The fields of a configuration as rows: what `linearizer describe` shows and what error messages name. Torch-free."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

UNIONS = (typing.Union, types.UnionType)
_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of", "min_length": "length >=", "max_length": "length <="}


@dataclass(frozen=True, kw_only=True)
class FieldRow:
    """One option: dotted key, type with bounds, default (a JSON value) and description."""

    key: str
    type: str
    required: bool
    default: Any
    description: str


def field_rows(model: type[BaseModel]) -> list[FieldRow]:
    """All options of a configuration, nested ones under dotted keys.

    Inside a list a key reads ``levels[].width``, in one of several alternative tables ``recipe[published].steps``.

    Example:
        >>> from linearizer_core.config import StageConfig
        >>> rows = {row.key: row for row in field_rows(StageConfig)}
        >>> rows["steps"].required, rows["optimizer.lr"].default, rows["hold"].type
        (True, 0.001, 'float, >= 0, <= 1')
    """
    return _rows(model, "", None, ())


def type_name(field: FieldInfo) -> str:
    """A type as a user would write it, with its bounds.

    Example:
        >>> from linearizer_core.config import StageConfig
        >>> type_name(StageConfig.model_fields["clip_norm"])
        'float | None, > 0'
    """
    annotation: Any = field.annotation
    constraints = list(field.metadata)
    for argument in typing.get_args(annotation) if typing.get_origin(annotation) in UNIONS else ():
        constraints += getattr(argument, "__metadata__", ())
    return ", ".join([_plain_name(annotation), *(text for item in constraints for text in _bounds(item))])


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """All models that an annotation mentions: itself, the members of a union, the item of a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for argument in typing.get_args(annotation) for each in models_in(argument)]


def table_models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a single table may be: the annotation itself, or members of a union, but not the items of a collection."""
    if typing.get_origin(annotation) in (*UNIONS, typing.Annotated):
        return [each for argument in typing.get_args(annotation) for each in table_models(argument)]
    return models_in(annotation) if isinstance(annotation, type) else []


def _plain_name(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _plain_name(arguments[0])
    if origin in UNIONS:
        return " | ".join(map(_plain_name, arguments))
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if annotation in (None, type(None)):
        return "None"
    if annotation is ...:
        return "..."
    name = getattr(annotation, "__name__", None) or re.sub(r"\b(\w+\.)+", "", str(annotation))
    return f"{name}[{', '.join(map(_plain_name, arguments))}]" if arguments else name


def _bounds(item: Any) -> list[str]:
    return [f"{symbol} {value}" for bound, symbol in _BOUNDS.items() if (value := getattr(item, bound, None)) is not None]


def _rows(model: type[BaseModel], prefix: str, defaults: BaseModel | None, outer: tuple[type[BaseModel], ...]) -> list[FieldRow]:
    rows: list[FieldRow] = []
    for name, field in model.model_fields.items():
        required = defaults is None and field.is_required()
        default = getattr(defaults, name) if defaults is not None else field.get_default(call_default_factory=True, validated_data={})
        # A configuration may contain itself (a tree), and an open one (a component) has options only its plugin knows.
        nested = [each for each in models_in(field.annotation) if each not in (*outer, model) and each.model_config.get("extra") != "allow"]
        if nested != [field.annotation]:
            shown = None if required else to_jsonable_python(default, fallback=str)
            rows.append(FieldRow(key=prefix + name, type=type_name(field), required=required, default=shown, description=field.description or ""))
        for each in nested:
            inner = default if type(default) is each else None
            rows += _rows(each, f"{prefix}{name}{_step(field, each, len(nested))}.", inner, (*outer, model))
    return rows


def _step(field: FieldInfo, inner: type[BaseModel], choices: int) -> str:
    if inner not in table_models(field.annotation):
        return "[]"
    if choices == 1:
        return ""
    return f"[{inner.model_fields[field.discriminator].default if isinstance(field.discriminator, str) else inner.__name__}]"
