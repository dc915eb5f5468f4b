"""The conformance kit on the style task: all checks once, and those that depend on the core with every core."""

from __future__ import annotations

from typing import Any

import pytest

from linearizer_core.config import Component
from linearizer_core.testing import Check, Subject, TaskSubject, parametrize_with_checks

BACKBONE = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 0}, final_mixing=False)
CORES: dict[str, dict[str, Any]] = {
    "depthwise": {"name": "convolution", "channels": 12, "depthwise": True},
    "low-rank": {"name": "identity_plus_low_rank", "rank": 4},
    "number": {"name": "style_number", "channels": 12},
}


def subject_with(title: str, core: dict[str, Any], *, shared: bool) -> TaskSubject:
    return TaskSubject("style", title=title, options={"shared": shared}, backbone=BACKBONE, core=Component(**core))


@parametrize_with_checks([subject_with("convolution", {"name": "convolution", "channels": 12}, shared=True)])
@pytest.mark.filterwarnings("default")
def test_all_laws(subject: Subject, check: Check) -> None:
    check(subject)


@parametrize_with_checks([subject_with(title, core, shared=False) for title, core in CORES.items()], select="*lo*")
def test_every_core(subject: Subject, check: Check) -> None:
    check(subject)
