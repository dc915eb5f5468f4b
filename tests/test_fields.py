"""The rows that `linearizer describe` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, PositiveInt

from linearizer_core.config import Component, StageConfig
from linearizer_core.fields import field_rows, type_name


class Level(BaseModel):
    width: int = Field(8, description="channels")


class Named(BaseModel):
    kind: Literal["named"] = "named"
    name: str


class Sized(BaseModel):
    kind: Literal["sized"] = "sized"


class Tree(BaseModel):
    stage: StageConfig = StageConfig(steps=5, batch_size=2)
    level: Level | None = None
    levels: tuple[Level, ...] = (Level(width=3),)
    more: tuple[Level, ...] | None = None
    choice: Annotated[Named | Sized, Field(discriminator="kind")] = Sized()
    children: tuple[Tree, ...] = ()
    part: Component = Component(name="net", width=3)
    root: Path = Path("here")


def test_nested_options_have_dotted_keys_and_the_outer_default() -> None:
    rows = {row.key: row for row in field_rows(Tree)}
    assert (rows["stage.steps"].default, rows["stage.steps"].required) == (5, False)
    assert (rows["level"].default, rows["level.width"].default, rows["level.width"].description) == (None, 8, "channels")
    assert (rows["levels"].default, rows["levels[].width"].type) == ([{"width": 3}], "int")
    assert rows["more[].width"].default == 8
    assert rows["choice[named].name"].required
    assert "choice[sized].kind" in rows
    assert rows["part"].default == {"name": "net", "width": 3}
    assert rows["root"].default == "here"
    assert "stage" not in rows
    assert not any(key.startswith("children[]") for key in rows)


class Kinds(BaseModel):
    a: int
    b: PositiveInt | None = None
    c: Literal["x", "y"] | float = "x"
    d: dict[str, tuple[int, ...]] = {}
    e: Annotated[list[Path], Field(min_length=1)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "int"),
        ("b", "int | None, > 0"),
        ("c", "'x' | 'y' | float"),
        ("d", "dict[str, tuple[int, ...]]"),
        ("e", "list[Path], length >= 1"),
    ],
)
def test_types_read_as_a_user_writes_them(name: str, expected: str) -> None:
    assert type_name(Kinds.model_fields[name]) == expected
