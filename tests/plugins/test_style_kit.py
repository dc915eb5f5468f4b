"""The conformance kit on the parts of the style plugin."""

from __future__ import annotations

import pytest

from linearizer_core.config import Component
from linearizer_core.testing import Check, Subject, TaskSubject, parametrize_with_checks

BACKBONE = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 0}, final_mixing=False)
CORES = {
    "full": Component(name="convolution", channels=12),
    "depthwise": Component(name="convolution", channels=12, depthwise=True),
    "low-rank": Component(name="identity_plus_low_rank", rank=4),
    "number": Component(name="style_number", channels=12),
}


@parametrize_with_checks(
    [TaskSubject("style", title=f"style-{title}", options={"shared": title != "depthwise"}, backbone=BACKBONE, core=core) for title, core in CORES.items()]
)
@pytest.mark.filterwarnings("default")
def test_the_task(subject: Subject, check: Check) -> None:
    check(subject)
