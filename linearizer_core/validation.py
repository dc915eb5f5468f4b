"""From user-given values to a validated pydantic model; errors name key, value, expectation and fix. Torch-free."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from linearizer_core.errors import ConfigError
from linearizer_core.fields import UNIONS, models_in, table_models, type_name

Model = TypeVar("Model", bound=BaseModel)

NONE = "none"
"""How a TOML file, which has no null, writes None for a field that allows it."""

# A configuration that came with a model can hold any number of mistakes of any length.
_MOST_PROBLEMS = 20
_LONGEST_VALUE = 200


def validate(model: type[Model], values: Mapping[str, Any], *, where: str = "", prefix: str = "") -> Model:
    """Build ``model`` from ``values``.

    A table given for a nested configuration changes only the fields it names: the others keep what the outer default says. So does
    a table for a component, unless it names another component. The string ``"none"`` means None where a field allows None.

    Raises:
        ConfigError: one line per problem, keys written as ``prefix`` plus the dotted path; ``where`` heads the message.

    Example:
        >>> from linearizer_core.config import StageConfig
        >>> stage = validate(StageConfig, {"steps": 100, "batch_size": 8, "clip_norm": "none", "optimizer": {"lr": 0.01}})
        >>> stage.optimizer.lr, stage.optimizer.name
        (0.01, 'adamw')
        >>> validate(StageConfig, {"steps": 100, "batch_size": 8, "optimizer": {"lrr": 1}}, prefix="task.h.")
        Traceback (most recent call last):
        linearizer_core.errors.ConfigError: task.h.optimizer.lrr = 1: unknown key; did you mean 'lr'? (valid here: ...)
    """
    outcome = try_validate(model, values, prefix)
    if isinstance(outcome, list):
        raise ConfigError(join_problems(outcome, where))
    return outcome


def try_validate(model: type[Model], values: Mapping[str, Any], prefix: str = "") -> Model | list[str]:
    """What `validate` does, with the problems returned, one line each, so that a caller can add its own."""
    try:
        return model.model_validate(_complete(model, values, None))
    except ValidationError as error:
        details = error.errors(include_url=False)
        rest = [f"and {len(details) - _MOST_PROBLEMS} more"] if len(details) > _MOST_PROBLEMS else []
        return [_problem(model, detail, prefix) for detail in details[:_MOST_PROBLEMS]] + rest


def join_problems(problems: Sequence[str], where: str) -> str:
    """One message for all that is wrong: on one line where there is one problem, else a list."""
    if len(problems) == 1:
        return f"{where}: {problems[0]}" if where else problems[0]
    return "\n  - ".join([f"{where or 'configuration'}: {len(problems)} problems", *problems])


def nearest(name: str, valid: Sequence[str]) -> str:
    """A clause that leads from an unknown key to the valid ones.

    Example:
        >>> nearest("sede", ["output", "seed"])
        "did you mean 'seed'? (valid here: output, seed)"
    """
    close = difflib.get_close_matches(name, valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}(valid here: {', '.join(sorted(valid)) or 'none'})"


def _complete(model: type[BaseModel], values: Mapping[str, Any], defaults: BaseModel | None) -> dict[str, Any]:
    """``values`` with the remaining fields of a nested default filled in."""
    filled = {} if defaults is None else _values_of(defaults, values)
    for name, value in values.items():
        field = model.model_fields.get(name)
        if field is None:
            filled[name] = _merged(filled.get(name), value)
        elif value == NONE and type(None) in typing.get_args(field.annotation):
            filled[name] = None
        elif isinstance(value, Mapping):
            default = filled[name] if name in filled else field.get_default(call_default_factory=True, validated_data={})
            inner = _chosen(field, value, default)
            filled[name] = _complete(inner, value, default if type(default) is inner else None) if inner else value
        else:
            filled[name] = value
    return filled


def _values_of(defaults: BaseModel, values: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: getattr(defaults, name) for name in type(defaults).model_fields}
    if defaults.model_extra is None:
        return fields
    # An open model is a component: its options belong to its name, so a table with another name starts from nothing.
    same = values.get("name", fields.get("name")) == fields.get("name")
    return {**fields, **defaults.model_extra} if same else {}


def _merged(default: Any, value: Any) -> Any:
    if not (isinstance(default, Mapping) and isinstance(value, Mapping)):
        return value
    return {**default, **{name: _merged(default.get(name), each) for name, each in value.items()}}


def _chosen(field: FieldInfo, value: Mapping[str, Any], default: Any) -> type[BaseModel] | None:
    """The model that a table is meant for: the only one, the one its tag names, or the one of the default where it has no tag."""
    candidates = table_models(field.annotation)
    if len(candidates) > 1 and isinstance(field.discriminator, str):
        tag = value.get(field.discriminator, getattr(default, field.discriminator, None))
        candidates = [each for each in candidates if tag == each.model_fields[field.discriminator].default]
    return candidates[0] if len(candidates) == 1 else None


def _problem(model: type[BaseModel], detail: Any, prefix: str) -> str:
    path, owner, field = _locate(model, detail["loc"])
    key = prefix + ".".join(path)
    expected = f" (expected {type_name(field)})" if field else ""
    match detail["type"]:
        case "extra_forbidden":
            return f"{key} = {_shown(detail['input'])}: unknown key; {nearest(path[-1], list(owner.model_fields))}"
        case "missing":
            return f"{key} is missing; give it a value{expected}"
        case _ if not path:
            return f"{prefix.rstrip('.') or model.__name__}: {_plain(detail['msg'])}"
        case _:
            return f"{key} = {_shown(detail['input'])}: {_plain(detail['msg'])}{expected}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return re.sub(r"^Input should", "should", message)


def _locate(model: type[BaseModel], location: Sequence[str | int]) -> tuple[list[str], type[BaseModel], FieldInfo | None]:
    """The path as a user writes it, the innermost model it leads into, and the field it names there, if any.

    pydantic names the member of a union it tried as if it were a key; a user never wrote that, so it is left out.
    """
    path: list[str] = []
    field: FieldInfo | None = None
    inside = [model]
    for part in location:
        if len(inside) == 1 and not isinstance(part, int):
            model, field = inside[0], inside[0].model_fields.get(part)
            inside = models_in(field.annotation) if field else []
        elif field and typing.get_origin(field.annotation) in UNIONS and not isinstance(part, int):
            inside = [each for each in inside if part in {each.__name__, *_tags(each, field)}]
            continue
        path.append(str(part))
    return path, model, field


def _tags(model: type[BaseModel], field: FieldInfo) -> list[Any]:
    return [model.model_fields[field.discriminator].default] if isinstance(field.discriminator, str) else []
