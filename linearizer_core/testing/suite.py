"""Which checks there are, and running them."""

from __future__ import annotations

import difflib
import fnmatch
import time
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from linearizer_core.errors import CheckFailure, ConfigError
from linearizer_core.testing.backbone import CHECKS as BACKBONE
from linearizer_core.testing.check import Check, CheckResult, Context, SkipCheck, Status, SubjectKind
from linearizer_core.testing.core import CHECKS as CORE
from linearizer_core.testing.dataset import CHECKS as DATASET
from linearizer_core.testing.operator import CHECKS as OPERATOR
from linearizer_core.testing.subjects import Subject
from linearizer_core.testing.tab import CHECKS as TAB
from linearizer_core.testing.task import CHECKS as TASK

CHECKS: dict[SubjectKind, tuple[Check, ...]] = {"backbone": BACKBONE, "core": CORE, "operator": OPERATOR, "task": TASK, "dataset": DATASET, "tab": TAB}

_DTYPES = {"float64": torch.float64, "float32": torch.float32}


def checks_for(kind: SubjectKind, select: str = "*") -> tuple[Check, ...]:
    """The checks of a kind of subject whose name contains ``select`` or matches it as a wildcard pattern.

    Raises:
        ConfigError: when there is none.

    Example:
        >>> [check.name for check in checks_for("backbone", "*-inverse")]
        ['left-inverse', 'right-inverse']
    """
    found = tuple(check for check in CHECKS[kind] if fnmatch.fnmatch(check.name, select) or select in check.name)
    if not found:
        raise ConfigError(f"no check of a {kind} matches {select!r}; checks: {', '.join(check.name for check in CHECKS[kind])}")
    return found


def run_checks(
    subject: Subject,
    *,
    select: str = "*",
    dtypes: Iterable[str] = ("float64", "float32"),
    expected_failures: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Run the checks of a subject, each in isolation: none of them raises, and one that fails does not keep the others from running.

    Args:
        subject: what to check.
        select: part of the name of a check, or a wildcard pattern.
        dtypes: dtypes in which values are compared; derivatives always are in float64.
        expected_failures: names of checks that are known to fail, and why.

    Raises:
        ConfigError: when no check is selected, or for an unknown dtype or check.

    Example:
        >>> from linearizer_core.bijections import HaarSqueeze
        >>> from linearizer_core.testing import BackboneSubject
        >>> haar = BackboneSubject(lambda shape, conditions: HaarSqueeze(shape), title="haar", shapes=[(1, 4, 4)])
        >>> [result.status for result in run_checks(haar, select="*-inverse")]
        ['passed', 'passed']
    """
    expected = dict(expected_failures or {})
    require_known(subject.kind, expected)
    context = Context(tuple(_dtype(name) for name in dtypes))
    return [_run(check, subject, context, expected.get(check.name)) for check in checks_for(subject.kind, select)]


def require_known(kind: SubjectKind, names: Iterable[str]) -> None:
    """Raise `ConfigError` for a name that no check of this kind has."""
    known = [check.name for check in CHECKS[kind]]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"expected_failures names {name!r}, which is no check of a {kind}; {hint}(checks: {', '.join(known)})")


def _run(check: Check, subject: Subject, context: Context, reason: str | None) -> CheckResult:
    start = time.perf_counter()
    status: Status
    try:
        status, message = "passed", check(subject, context) or ""
    except SkipCheck as skipped:
        status, message = "skipped", str(skipped)
    except CheckFailure as failure:
        status, message = "failed", str(failure)
    except Exception as error:
        status, message = "failed", _described(error)
    if reason is not None and status == "failed":
        status, message = "expected_failure", f"{reason} ({message})"
    elif reason is not None and status == "passed":
        status, message = "unexpected_pass", f"expected to fail ({reason}), and passed; take it off expected_failures"
    return CheckResult(check.name, status, message, time.perf_counter() - start)


def _described(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno}, in {frame.name})"


def _dtype(name: str) -> torch.dtype:
    if name not in _DTYPES:
        raise ConfigError(f"dtype {name!r}: the kit checks {' and '.join(_DTYPES)}; a bijection keeps its stream in one of them")
    return _DTYPES[name]
