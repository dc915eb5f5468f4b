"""The tab of operators."""

from __future__ import annotations

import dataclasses

import torch

from linearizer_core.config import Component
from linearizer_core.metrics import psnr
from linearizer_core.pretrained import Pretrained
from linearizer_core.testing import TabSubject, run_checks
from linearizer_studies.demo.chance import CHANCE, CHOSEN, DRAWN, pictures_by_seed, sources
from linearizer_studies.demo.inside import Inside

from .models import fact, made, picture, require_seeded, shown

TAB = Inside()


def test_it_keeps_the_laws_of_tabs(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    results = run_checks(TabSubject("inside", models={"projector": projector, "label": flows["label"], "none": flows["none"]}))
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []


def test_all_directions_are_the_whole_map(projector: Pretrained) -> None:
    examples = projector.examples()
    assert examples is not None
    found = picture(shown(TAB, projector, picture=5, kept=8), "rebuilt")
    with torch.no_grad():
        whole = projector.linearizer()(examples[5:6]).clamp(0, 1)
    assert torch.allclose(found[0], examples[5])
    assert torch.allclose(found[1:2], whole, atol=1e-4)
    assert torch.allclose(found[2:3], whole, atol=1e-4)


def test_a_flow_rebuilds_by_its_pseudo_inverse(flows: dict[str, Pretrained]) -> None:
    flow = flows["none"]
    examples = flow.examples()
    assert examples is not None
    with torch.no_grad():
        f = flow.linearizer()
        whole = f(f.pinv()(examples[5:6])).clamp(0, 1)
    assert torch.allclose(picture(shown(TAB, flow, picture=5, kept=12), "rebuilt")[1:2], whole, atol=1e-4)


def test_what_is_rebuilt_gains_with_every_direction_in_the_latent_space(projector: Pretrained) -> None:
    space, examples = projector.model.codomain(), projector.examples()
    assert examples is not None
    with torch.no_grad():
        z = projector.linearizer()(examples[5:6])
        errors = [float(space.distance(picture(shown(TAB, projector, picture=5, kept=kept), "rebuilt")[1:2], z)) for kept in (1, 4, 8)]
    assert errors[2] < errors[0]


def test_one_direction_moves_the_picture_both_ways(projector: Pretrained) -> None:
    found = picture(shown(TAB, projector, picture=5, number=2), "moved")
    examples = projector.examples()
    assert examples is not None
    assert torch.allclose(found[4], examples[5], atol=1e-4)
    assert psnr(found[0], found[8]) < psnr(found[3], found[5])


def test_facts(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    found = shown(TAB, projector, kept=3)
    assert fact(found, "Dimensions") == "64"
    assert fact(found, "Strongest") == "1 and 1"
    assert "other examples" in found.sentence
    assert "The curve" in shown(TAB, flows["published-none"]).sentence


def test_a_flow_under_labels_has_an_operator_for_any_label(flows: dict[str, Pretrained]) -> None:
    assert TAB.lacks(flows["published"]) == ""


def test_a_picture_drawn_by_the_model(projector: Pretrained) -> None:
    require_seeded(TAB, projector, pictures=DRAWN)
    assert torch.equal(picture(shown(TAB, projector, pictures=DRAWN, seed=3), "rebuilt")[:1], projector.sample(1, seed=3).clamp(0, 1))


def test_where_nothing_is_drawn_examples_come_by_chance(projector: Pretrained) -> None:
    bare = made(Component(name="dynamics"), Component(name="generator"), projector.config.data)
    maps = dataclasses.replace(bare, pictures=projector.pictures)
    examples = maps.examples()
    assert examples is not None
    assert (sources(bare), sources(maps)) == ((CHOSEN,), (CHOSEN, CHANCE))
    found = pictures_by_seed(maps, 2, 3)
    places = [[number for number, each in enumerate(examples) if torch.equal(each, one)] for one in found]
    assert len({place for each in places for place in each}) == 2
    assert torch.equal(found, pictures_by_seed(maps, 2, 3))
    assert not torch.equal(found, pictures_by_seed(maps, 2, 4))
