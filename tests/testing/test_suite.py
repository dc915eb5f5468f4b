"""Running checks: what becomes of each, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from linearizer_core.bijections import Bijection
from linearizer_core.errors import ConfigError, UnknownNameError
from linearizer_core.testing import BackboneSubject, CoreSubject, TaskSubject, checks_for, run_checks, subject_named

from .wrong_backbones import Affine, WrongLeftInverse

RIGHT = BackboneSubject(Affine, shapes=[(3,)])
WRONG = BackboneSubject(WrongLeftInverse, shapes=[(3,)])


def statuses(subject: BackboneSubject, **options: Any) -> dict[str, str]:
    return {result.check: result.status for result in run_checks(subject, **options)}


def test_statuses() -> None:
    found = statuses(WRONG, select="*-inverse")
    assert found == {"left-inverse": "failed", "right-inverse": "skipped"}
    reasons = {"left-inverse": "known", "right-inverse": "known"}
    expected = run_checks(WRONG, select="*-inverse", expected_failures=reasons)
    assert [(result.status, result.is_bad) for result in expected] == [("expected_failure", False), ("skipped", False)]
    assert expected[0].message.startswith("known (")
    surprise = run_checks(RIGHT, select="*-inverse", expected_failures=reasons)
    assert [(result.status, result.is_bad) for result in surprise] == [("unexpected_pass", True)] * 2
    assert "known" in surprise[0].message


def test_an_error_of_any_kind_is_a_failure_that_says_where() -> None:
    class Torn(Affine):
        def _log_scale(self, *arguments: object) -> torch.Tensor:
            raise ZeroDivisionError("no scale today")

    (result,) = run_checks(BackboneSubject(Torn, shapes=[(3,)]), select="determinism")
    assert result.status == "failed"
    assert result.message.startswith("ZeroDivisionError: no scale today (test_suite.py:")


def test_a_shape_that_is_refused_is_told() -> None:
    (result,) = run_checks(BackboneSubject("coupling", shapes=[(1, 7, 8), (4,)], options={"levels": [{"width": 8}]}), select="construction")
    assert result.status == "failed"
    (result,) = run_checks(BackboneSubject("coupling", shapes=[(2, 8, 8), (4,)], options={"levels": [{"width": 8}]}), select="construction")
    assert result.status == "passed"
    assert "1 of 2 shapes; refused (4,): levels: 1 given for shape (4,)" in result.message


def test_only_the_dtypes_that_are_asked_for() -> None:
    (result,) = run_checks(RIGHT, select="left-inverse", dtypes=["float32"])
    assert "float32" in result.message
    assert "float64" not in result.message
    assert statuses(RIGHT, select="autocast", dtypes=["float64"]) == {"autocast": "skipped"}


def test_checks_leave_the_random_state_of_the_caller_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run_checks(RIGHT, select="state-dict")
    assert torch.equal(torch.rand(3), expected)


def test_selecting() -> None:
    assert [check.name for check in checks_for("operator", "shapes")] == ["refuses-wrong-shapes"]
    assert len({check.name for check in checks_for("backbone")}) == len(checks_for("backbone"))
    with pytest.raises(ConfigError, match="no check of a core matches 'logdet'; checks: construction"):
        checks_for("core", "logdet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtypes": ["bfloat16"]}, "dtype 'bfloat16': the kit checks float64 and float32"),
        ({"expected_failures": {"left_inverse": "x"}}, "names 'left_inverse', which is no check of a backbone; did you mean 'left-inverse'"),
    ],
)
def test_what_cannot_be_run_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_checks(RIGHT, **options)


def test_names_and_options_are_checked_at_once() -> None:
    with pytest.raises(UnknownNameError, match="no backbone named 'couplign'"):
        BackboneSubject("couplign")
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        subject_named("backbone", "coupling", {"dense": {"widht": 3}})
    assert isinstance(subject_named("operator", "gaussian"), CoreSubject)
    assert subject_named("task", "flow") == TaskSubject("flow")


def test_names_of_subjects() -> None:
    def mine(shape: tuple[int, ...], conditions: dict[str, int] | None) -> Bijection:
        return Affine(shape)

    assert [BackboneSubject(target).name for target in ("coupling", Affine, mine)] == ["coupling", "Affine", "mine"]
    assert BackboneSubject("coupling", title="small").name == "small"
    assert TaskSubject(nn.Identity()).name == "Identity"
