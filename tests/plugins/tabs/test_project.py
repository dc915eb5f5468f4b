"""The tab of projectors."""

from __future__ import annotations

import pytest
import torch

from linearizer_core.data import Splits
from linearizer_core.pretrained import Pretrained
from linearizer_core.testing import TabSubject, run_checks
from linearizer_ign.demo import BLUR, INVERSION, NOISE, NOTHING, OCCLUSION, Project, damaged, projector_of

from .models import examples, fact, picture, shown

TAB = Project()


def test_it_keeps_the_laws_of_tabs(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    results = run_checks(TabSubject("project", models={"projector": projector, **flows}))
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []


def test_what_it_lacks(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    assert TAB.lacks(projector) == ""
    assert {name: bool(TAB.lacks(each)) for name, each in flows.items()} == {
        "label": False,
        "cluster": False,
        "none": False,
        "published": True,
        "published-none": True,
    }


def test_the_second_time_changes_nothing(projector: Pretrained) -> None:
    found = shown(TAB, projector, damage=NOISE, strength=1.0)
    assert float(fact(found, "second time")) < 1e-4 < float(fact(found, "first time"))
    assert torch.allclose(picture(found, "once"), picture(found, "twice"), atol=1e-4)
    assert "rounding" in found.sentence
    assert fact(found, "Directions") == "8 of 64"


def test_it_is_the_network_itself(projector: Pretrained) -> None:
    example = projector.examples()
    assert example is not None
    found = shown(TAB, projector, picture=2, damage=NOTHING)
    assert torch.equal(picture(found, "given"), example[2:3])
    with torch.no_grad():
        assert torch.allclose(picture(found, "once"), projector.linearizer()(example[2:3]).clamp(0, 1), atol=1e-6)


def test_a_drawing_comes_first(projector: Pretrained) -> None:
    sketch = torch.zeros(1, 8, 8)
    sketch[0, 2:6, 3] = 1
    assert torch.equal(picture(shown(TAB, projector, sketch=sketch, damage=NOTHING), "given")[0], sketch)


def test_the_projector_of_a_flow_needs_no_label(flows: dict[str, Pretrained], digits: Splits) -> None:
    """Under every label what is kept of a picture is the same."""
    made, x = flows["label"], examples(digits, 3)
    p = projector_of(made)
    assert p is not None
    assert made.operator is not None
    with torch.no_grad():
        for label in (1, 8):
            condition = made.task.condition(made.model, {"x": x, "label": torch.full((3,), label)})
            under = made.model.codomain(condition)
            assert torch.allclose(under.from_latent(made.operator(under.to_latent(x))), p(x), atol=1e-4)


@pytest.mark.parametrize("damage", [NOISE, BLUR, OCCLUSION, INVERSION])
def test_damage(digits: Splits, damage: str) -> None:
    x = examples(digits, 4)
    strong, weak = (damaged(x, damage, strength, torch.Generator().manual_seed(0)) for strength in (1.0, 0.2))
    assert strong.shape == x.shape
    assert 0 <= float(strong.min()) <= float(strong.max()) <= 1
    distances = [float((each - x).square().mean()) for each in (weak, strong)]
    assert 0 < distances[0] <= distances[1]
    assert torch.equal(damaged(x, NOTHING, 1.0, torch.Generator()), x)
