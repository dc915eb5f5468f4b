"""The tab of flows."""

from __future__ import annotations

import pytest
import torch

from linearizer_core.pretrained import Pretrained
from linearizer_core.testing import TabSubject, run_checks
from linearizer_flow.demo import SAVED, THESE, OneStep

from .models import fact, picture, shown

TAB = OneStep()


def test_it_keeps_the_laws_of_tabs(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    results = run_checks(TabSubject("one_step", models={**flows, "projector": projector}))
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []


def test_what_it_lacks(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    assert TAB.lacks(projector) == "a flow from noise to data (task `flow`)"
    assert {TAB.lacks(each) for each in flows.values()} == {""}


@pytest.mark.parametrize("name", ["label", "cluster", "none", "published"])
@pytest.mark.parametrize("solver", ["euler", "rk4", "magnus4"])
def test_the_same_steps_differ_by_rounding(flows: dict[str, Pretrained], name: str, solver: str) -> None:
    found = shown(TAB, flows[name], solver=solver, steps=20)
    assert float(fact(found, "Largest difference")) < 1e-4
    assert torch.allclose(picture(found, "one_step"), picture(found, "many_steps"), atol=1e-4)
    assert float(picture(found, "difference").max()) == pytest.approx(1000 * float(fact(found, "Largest difference")), rel=0.05)
    assert "rounding" in found.sentence


@pytest.mark.parametrize("name", ["label", "cluster", "none"])
def test_its_pictures_are_samples_of_the_model(flows: dict[str, Pretrained], name: str) -> None:
    found = shown(TAB, flows[name], against=SAVED, count=5, seed=3)
    assert torch.equal(picture(found, "one_step"), flows[name].sample(5, seed=3).clamp(0, 1))


@pytest.mark.parametrize(("name", "label"), [("label", "7"), ("cluster", "2"), ("published", "7")])
def test_labels_are_those_of_sample(flows: dict[str, Pretrained], name: str, label: str) -> None:
    found = shown(TAB, flows[name], against=SAVED, label=label, temperature=0.8, count=3, seed=1)
    expected = flows[name].sample(3, seed=1, label=int(label), temperature=0.8).clamp(0, 1)
    assert torch.allclose(picture(found, "one_step"), expected, atol=1e-6)
    assert not torch.allclose(expected, flows[name].sample(3, seed=1, temperature=0.8).clamp(0, 1), atol=1e-3)


def test_few_steps_are_not_the_exact_flow(flows: dict[str, Pretrained]) -> None:
    few, many = (float(fact(shown(TAB, flows["none"], against=SAVED, steps=steps), "Largest difference")) for steps in (2, 200))
    assert few > 5 * many


def test_directions_are_cut_from_the_one_step_alone(flows: dict[str, Pretrained]) -> None:
    whole, cut = (shown(TAB, flows["none"], against=THESE, rank=rank) for rank in (12, 3))
    assert torch.equal(picture(whole, "many_steps"), picture(cut, "many_steps"))
    assert "cut to 3 directions" in cut.sentence
    assert float(fact(cut, "Largest difference")) > 1e-3


def test_no_temperature_no_variety(flows: dict[str, Pretrained]) -> None:
    found = picture(shown(TAB, flows["none"], temperature=0, count=4), "one_step")
    assert torch.allclose(found, found[:1].expand_as(found), atol=1e-6)
