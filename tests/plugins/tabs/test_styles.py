"""The tab of styles."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from linearizer_core.config import Component
from linearizer_core.data import DataInfo
from linearizer_core.metrics import psnr
from linearizer_core.operators import Convolution
from linearizer_core.pretrained import Pretrained
from linearizer_core.testing import TabSubject, run_checks
from linearizer_style.demo import CHANCE, Styles, _by_chance, scaled
from linearizer_style.opened import opened

from .models import fact, made, picture, require_seeded, shown

TAB = Styles()
NAMES = ("candy", "mosaic", "udnie")
INFO = DataInfo(name="pairs", shape=(3, 8, 8), classes=3, class_names=NAMES)
FREE = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 0}, final_mixing=False)


@pytest.fixture(scope="module")
def free() -> Pretrained:
    """For pictures of any size."""
    return made(Component(name="style"), Component(name="convolution", channels=12), INFO, FREE)


@pytest.fixture(scope="module")
def bound() -> Pretrained:
    """For pictures of 8 x 8 pixels alone; with examples."""
    found = made(Component(name="style"), Component(name="identity_plus_low_rank", rank=3), INFO, FREE)
    from linearizer_core.pretrained.examples import EXAMPLES, draw_examples

    return dataclasses.replace(found, pictures={EXAMPLES: draw_examples(torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)))})


def test_it_keeps_the_laws_of_tabs(free: Pretrained, bound: Pretrained, projector: Pretrained) -> None:
    results = run_checks(TabSubject("styles", models={"free": free, "bound": bound, "projector": projector}))
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []
    assert [result.status for result in run_checks(TabSubject("styles", models={"bound": bound}), select="ends")] == ["passed"]


def test_it_is_the_mix(free: Pretrained) -> None:
    upload = torch.rand(3, 64, 80, generator=torch.Generator().manual_seed(0))
    found = shown(TAB, free, picture=upload, side=64, styles={"candy": 0.3, "udnie": 0.7}, strength=1.2)
    styled = opened(free).apply(upload, lambda mixer: mixer.mix({"candy": 0.3, "udnie": 0.7}, 1.2))
    assert torch.allclose(picture(found, "styled")[0], styled, atol=1e-5)
    assert "0.3 candy + 0.7 udnie, at strength 1.2" in found.sentence


def test_weights_by_chance(bound: Pretrained) -> None:
    require_seeded(TAB, bound, weights=CHANCE)
    weights = _by_chance(NAMES, 3)
    found = shown(TAB, bound, weights=CHANCE, styles={}, seed=3)
    assert torch.equal(picture(found, "styled"), picture(shown(TAB, bound, styles=weights), "styled"))
    assert " + ".join(f"{weight:.3g} {name}" for name, weight in weights.items()) in found.sentence


def test_any_weights_by_chance_are_as_likely_as_others() -> None:
    """Uniform on a triangle: the mean is its centre, and each weight is below t with probability 1 - (1 - t)^2."""
    drawn = torch.tensor([list(_by_chance(NAMES, seed).values()) for seed in range(2000)])
    assert torch.allclose(drawn.sum(1), torch.ones(2000))
    for t in (0.25, 0.5):
        assert torch.allclose((drawn < t).float().mean(0), torch.full((3,), 1 - (1 - t) ** 2), atol=0.05)


@pytest.mark.parametrize("given", [{"strength": 0.0}, {"styles": {}}, {"styles": {}, "strength": 0.7}])
def test_no_style_is_the_picture(free: Pretrained, given: dict[str, object]) -> None:
    found = shown(TAB, free, side=64, **given)
    assert psnr(picture(found, "styled"), picture(found, "given")) > 80
    assert "No style at all" in found.sentence


def test_the_style_comes_off_again(free: Pretrained) -> None:
    found = shown(TAB, free, side=64, styles={"candy": 1.0})
    decibels = [float(fact(found, label).split()[0]) for label in ("In style", "Taken off at once", "Taken off a file")]
    assert decibels[0] + 5 < decibels[2] < decibels[1] - 20
    assert psnr(picture(found, "undone"), picture(found, "given")) == pytest.approx(decibels[2], abs=0.06)


def test_a_matrix_without_inverse(free: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    from linearizer_style.mixing import StyleMixer

    def silent(self: StyleMixer, style: str) -> Convolution:
        return Convolution(torch.zeros(1, 12, 12, 1, 1), (32, 48))

    monkeypatch.setattr(StyleMixer, "operator", silent)
    found = shown(TAB, free, side=64, styles={"candy": 1.0})
    assert fact(found, "Undone") == "not possible"


def test_sizes() -> None:
    assert scaled(torch.rand(3, 50, 80), 100).shape == (3, 100, 160)
    assert scaled(torch.rand(3, 10, 1000), 100).shape == (3, 3, 300)


def test_what_can_be_given(free: Pretrained, bound: Pretrained) -> None:
    photos, crops = (TAB.controls(each)[0] for each in (free, bound))
    assert tuple(photos.accept(1).shape) == (3, 192, 288)
    assert tuple(crops.accept(None).shape) == (3, 8, 8)
