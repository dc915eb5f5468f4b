"""From tables to models: defaults that stay, "none", and keys as the user wrote them."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.config import Component
from linearizer_core.errors import ConfigError
from linearizer_core.validation import validate


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Step(Strict):
    size: float = 1.0
    name: str = "plain"


class Fast(Strict):
    kind: Literal["fast"] = "fast"
    step: Step = Step(size=2.0, name="long")
    limit: float | None = 5.0


class Safe(Strict):
    kind: Literal["safe"] = "safe"
    checks: int = 3


class Plan(Strict):
    step: Step = Step(size=4.0, name="given")
    made: Step = Field(default_factory=lambda: Step(name="made"))
    perhaps: Step | None = None
    recipe: Annotated[Fast | Safe, Field(discriminator="kind")] = Fast()
    steps: tuple[Step, ...] = ()
    more: tuple[Step, ...] | None = None
    table: dict[str, int] = {}
    either: int | str = 1
    net: Component = Component(name="coupling", dense={"width": 8, "depth": 2}, seed=5)


def test_a_table_changes_only_what_it_names() -> None:
    plan = validate(Plan, {"step": {"size": 8}, "made": {"size": 8}})
    assert plan.step == Step(size=8, name="given")
    assert plan.made == Step(size=8, name="made")


def test_a_table_for_the_default_alternative_keeps_its_defaults() -> None:
    assert validate(Plan, {"recipe": {"step": {"size": 3}}}).recipe == Fast(step=Step(size=3, name="long"))
    assert validate(Plan, {"recipe": {"kind": "safe"}}).recipe == Safe()


def test_a_table_without_a_default_starts_from_the_fields() -> None:
    assert validate(Plan, {"perhaps": {"name": "x"}}).perhaps == Step(size=1.0, name="x")


def test_a_table_for_a_component_keeps_its_options_unless_the_name_changes() -> None:
    kept = validate(Plan, {"net": {"dense": {"width": 3}}}).net
    assert (kept.name, kept.options) == ("coupling", {"dense": {"width": 3, "depth": 2}, "seed": 5})
    assert validate(Plan, {"net": {"name": "coupling", "seed": 6}}).net.options == {"dense": {"width": 8, "depth": 2}, "seed": 6}
    assert validate(Plan, {"net": {"name": "glow", "seed": 6}}).net.options == {"seed": 6}


def test_none_where_none_is_allowed() -> None:
    assert validate(Plan, {"recipe": {"limit": "none"}}).recipe == Fast(limit=None)
    assert validate(Plan, {"step": {"name": "none"}}).step.name == "none"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": {"kind": "safe", "check": 1}}, "x.recipe.check = 1: unknown key; did you mean 'checks'? (valid here: checks, kind)"),
        ({"recipe": {"step": {"sizes": 1}}}, "x.recipe.step.sizes = 1: unknown key; did you mean 'size'?"),
        ({"recipe": {"kind": "fats"}}, "x.recipe = {'kind': 'fats'}: Input tag 'fats'"),
        ({"steps": [{}, {"sise": 1}]}, "x.steps.1.sise = 1: unknown key; did you mean 'size'?"),
        ({"more": [{"sise": 1}]}, "x.more.0.sise = 1: unknown key; did you mean 'size'?"),
        ({"more": {"size": 1}}, "x.more = {'size': 1}: should be a valid tuple (expected tuple[Step, ...] | None)"),
        ({"perhaps": {"size": "big"}}, "x.perhaps.size = 'big': should be a valid number, unable to parse string as a number (expected float)"),
        ({"table": {"a": "b"}}, "x.table.a = 'b': should be a valid integer"),
        ({"either": []}, "x.either = []: should be a valid integer (expected int | str)"),
    ],
)
def test_keys_read_as_they_were_written(values: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Plan, values, prefix="x.")
    assert message in str(caught.value)
