"""What a user reads of each built-in backbone: `describe`, and the card of a model that uses it."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from linearizer_core import plugins
from linearizer_core.cli import app
from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.pretrained.card import CardFacts, render_card

BUILT_IN = sorted(name for name in plugins.specs("backbone") if plugins.provider("backbone", name).distribution == plugins.HOST)


def words(text: str) -> str:
    return re.sub(r"- ?(?=\w)", "-", " ".join(text.split()))  # a line may end at a hyphen


def test_they_are_all_here() -> None:
    assert {"coupling", "glow", "iresnet", "irevnet", "lattice", "transformer"} <= set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_backbone_is_described_with_its_text_and_reference(name: str) -> None:
    spec = plugins.find("backbone", name)
    assert spec.summary
    assert spec.reference
    assert len(spec.details.split()) > 20
    shown = CliRunner().invoke(app, ["describe", name, "--kind", "backbone"])
    assert shown.exit_code == 0
    assert words(spec.details) in words(shown.output)
    assert spec.reference in words(shown.output)
    config = ModelConfig(task=Component(name="flow"), backbone=Component(name=name), core=Component(name="gaussian"))
    card = words(render_card(CardFacts(ArtifactConfig(model=config, data=DataInfo(name="digits", shape=(1, 8, 8))), parameters=1)))
    assert words(spec.details) in card
    assert f"Reference: {spec.reference}." in card
