"""The checks as tests of pytest, one each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from linearizer_core.testing.check import Check, Context, SkipCheck
from linearizer_core.testing.subjects import Subject
from linearizer_core.testing.suite import checks_for, require_known

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(subjects: Sequence[Subject], *, select: str = "*", expected_failures: Mapping[str, str] | None = None) -> pytest.MarkDecorator:
    """Decorate a test of the arguments ``subject`` and ``check``: it runs once for each check of each subject, under a name that says both.

    The test calls ``check(subject)``. A check that does not apply is a skipped test. An expected failure is a strict ``xfail``: it is reported with its
    reason, and fails the test when it passes.

    Args:
        subjects: what to check; not all need be of one kind.
        select: part of the name of a check, or a wildcard pattern.
        expected_failures: names of checks that are known to fail for these subjects, and why.

    Raises:
        ConfigError: when no check is selected, or for an unknown check.

    Example:
        >>> from linearizer_core.bijections import HaarSqueeze
        >>> from linearizer_core.testing import BackboneSubject, parametrize_with_checks
        >>> haar = BackboneSubject(lambda shape, conditions: HaarSqueeze(shape), title="haar", shapes=[(1, 4, 4)])
        >>> @parametrize_with_checks([haar], expected_failures={"autocast": "not yet"})
        ... def test_conformance(subject, check):
        ...     check(subject)
    """
    import pytest

    expected = expected_failures or {}
    for subject in subjects:
        require_known(subject.kind, expected)
    parameters = [
        pytest.param(
            subject,
            Check(check.name, check.kind, check.law, _skipping(check.function)),
            id=f"{subject.name}-{check.name}",
            marks=[pytest.mark.xfail(reason=expected[check.name], strict=True)] if check.name in expected else [],
        )
        for subject in subjects
        for check in checks_for(subject.kind, select)
    ]
    return pytest.mark.parametrize(("subject", "check"), parameters)


def _skipping(function: Callable[[Any, Context], str | None]) -> Callable[[Any, Context], str | None]:
    def run(subject: Any, context: Context) -> str | None:
        import pytest

        try:
            return function(subject, context)
        except SkipCheck as skipped:
            pytest.skip(str(skipped))

    return run
