"""The page of the kit tells every check, in the words of the kit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from linearizer_core.testing import SubjectKind, checks_for

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
HEADINGS = {"backbone": "Backbones", "core": "Cores", "operator": "Operators", "task": "Tasks", "dataset": "Datasets", "tab": "Tabs of the demo"}


@pytest.mark.parametrize("kind", get_args(SubjectKind))
def test_every_check_is_told(kind: SubjectKind) -> None:
    section = PAGE.read_text(encoding="utf-8").split(f"\n### {HEADINGS[kind]}\n")[1].split("\n### ")[0]
    assert re.findall(r"^\| `([\w-]+)` \| (.*) \|$", section, re.MULTILINE) == [(check.name, check.law) for check in checks_for(kind)]
