"""Every check catches something: for each there is a subject that is wrong in just that respect."""

from __future__ import annotations

from types import ModuleType
from typing import get_args

import pytest

from linearizer_core.errors import CheckFailure
from linearizer_core.testing import Subject, SubjectKind, checks_for, run_checks

from . import wrong_backbones, wrong_cores, wrong_datasets, wrong_operators, wrong_tabs, wrong_tasks

TABLES: dict[SubjectKind, ModuleType] = {
    "backbone": wrong_backbones,
    "core": wrong_cores,
    "operator": wrong_operators,
    "task": wrong_tasks,
    "dataset": wrong_datasets,
    "tab": wrong_tabs,
}
CASES = [(kind, name) for kind, table in TABLES.items() for name in table.WRONG]


def test_there_is_a_wrong_subject_for_every_check() -> None:
    assert {kind: set(table.WRONG) for kind, table in TABLES.items()} == {kind: {check.name for check in checks_for(kind)} for kind in get_args(SubjectKind)}


@pytest.mark.parametrize("kind", TABLES)
def test_what_the_wrong_ones_are_derived_from_is_right(kind: SubjectKind) -> None:
    assert [(result.check, result.message) for result in run_checks(TABLES[kind].RIGHT) if result.is_bad] == []


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_check_catches_it_and_no_other_does(kind: SubjectKind, name: str) -> None:
    table = TABLES[kind]
    results = {result.check: result for result in run_checks(table.WRONG[name])}
    assert {check for check, result in results.items() if result.is_bad} == {name} | table.ALSO.get(name, set()), results[name].message
    (check,) = (each for each in checks_for(kind) if each.name == name)
    with pytest.raises(CheckFailure):
        check(table.WRONG[name])


@pytest.mark.parametrize(("name", "subject", "message"), [case for table in TABLES.values() for case in table.MORE])
def test_other_mistakes_are_caught_and_named(name: str, subject: Subject, message: str) -> None:
    (check,) = (each for each in checks_for(subject.kind) if each.name == name)
    with pytest.raises(CheckFailure, match=message):
        check(subject)
