"""The conformance kit: does a component keep the laws of its kind?

Plugin authors run it on their own components, by `run_checks`, in a test with `parametrize_with_checks`, or by ``linearizer check NAME``. What is
checked is a subject: `BackboneSubject`, `CoreSubject`, `OperatorSubject`, `TaskSubject`, `DatasetSubject` or `TabSubject`.
"""

from __future__ import annotations

from linearizer_core.testing.check import Check, CheckResult, Context, SkipCheck, Status, SubjectKind
from linearizer_core.testing.parametrize import parametrize_with_checks
from linearizer_core.testing.subjects import BackboneSubject, CoreSubject, DatasetSubject, OperatorSubject, Subject, TabSubject, TaskSubject, subject_named
from linearizer_core.testing.suite import checks_for, run_checks

__all__ = [
    "BackboneSubject",
    "Check",
    "CheckResult",
    "Context",
    "CoreSubject",
    "DatasetSubject",
    "OperatorSubject",
    "SkipCheck",
    "Status",
    "Subject",
    "SubjectKind",
    "TabSubject",
    "TaskSubject",
    "checks_for",
    "parametrize_with_checks",
    "run_checks",
    "subject_named",
]
