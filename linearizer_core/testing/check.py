"""What a check is, and what became of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

import torch

if TYPE_CHECKING:
    from linearizer_core.testing.subjects import Subject

SubjectKind = Literal["backbone", "core", "operator", "task", "dataset", "tab"]
"""What can be checked. An "operator" is a `LinearOperator`, a "core" the learnable module that makes one."""

Status = Literal["passed", "failed", "skipped", "expected_failure", "unexpected_pass"]
"""What became of a check."""


@final
@dataclass(frozen=True)
class Context:
    """What a run of the kit asks for: the dtypes in which a subject must work. Derivatives are always compared in float64."""

    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)


@final
class SkipCheck(Exception):  # noqa: N818 (it is no error)
    """Raised by a check that does not apply to a subject; the message says why."""


@final
@dataclass(frozen=True)
class Check:
    """One law, and the function that proves it of a subject.

    The function raises `linearizer_core.errors.CheckFailure`, with numbers and the likely cause, or `SkipCheck`. It may return a remark, such
    as the largest error.

    Example:
        >>> from linearizer_core.testing import checks_for
        >>> check = checks_for("backbone", "left-inverse")[0]
        >>> check.law
        'g^-1(g(x)) is x'
    """

    name: str
    kind: SubjectKind
    law: str
    function: Callable[[Any, Context], str | None]

    def __call__(self, subject: Subject, context: Context | None = None) -> str | None:
        """Run the check on a subject, with random numbers of its own; both dtypes when ``context`` is left out."""
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            return self.function(subject, context or Context())


@final
@dataclass(frozen=True)
class CheckResult:
    """What became of one check: its status, what it says, and how long it took."""

    check: str
    status: Status
    message: str
    seconds: float

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to act: the check failed, or passed although it was expected to fail."""
        return self.status in ("failed", "unexpected_pass")
