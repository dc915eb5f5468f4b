"""The tab of induced spaces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from linearizer_core.pretrained import Pretrained
from linearizer_core.space import InducedSpace
from linearizer_core.testing import TabSubject, run_checks
from linearizer_studies.demo.chance import DRAWN
from linearizer_studies.demo.walk import DIFFERENCE, LINE, MEAN, SCALED, SUM, Walk

from .models import fact, picture, require_seeded, shown

TAB = Walk()


def test_it_keeps_the_laws_of_tabs(flows: dict[str, Pretrained], projector: Pretrained) -> None:
    results = run_checks(TabSubject("walk", models={"projector": projector, **flows}))
    assert [(result.check, result.message) for result in results if result.status != "passed"] == []


@pytest.mark.parametrize(
    ("way", "last"),
    [
        (LINE, lambda space, u, v, all_of_them: v),
        (SUM, lambda space, u, v, all_of_them: space.add(u, v)),
        (DIFFERENCE, lambda space, u, v, all_of_them: space.subtract(u, v)),
        (SCALED, lambda space, u, v, all_of_them: space.scale(2.0, u)),
        (MEAN, lambda space, u, v, all_of_them: space.mean(all_of_them)),
    ],
)
def test_where_a_way_ends(projector: Pretrained, way: str, last: Callable[[InducedSpace, Tensor, Tensor, Tensor], Tensor]) -> None:
    examples = projector.examples()
    assert examples is not None
    found = picture(shown(TAB, projector, way=way, kept=False, first=3, second=30), "induced")
    with torch.no_grad():
        expected = last(projector.model.codomain(), examples[3:4], examples[30:31], examples).clamp(0, 1)
    assert torch.allclose(found[-1:], expected, atol=1e-4)
    assert len(found) == 9


def test_the_middle_of_a_line(flows: dict[str, Pretrained]) -> None:
    made = flows["label"]
    examples = made.examples()
    assert examples is not None
    found = shown(TAB, made, way=LINE, kept=False, first=3, second=30, frames=11)
    with torch.no_grad():
        middle = made.task.data_space(made.model).lerp(examples[3:4], examples[30:31], 0.5).clamp(0, 1)
    assert torch.allclose(picture(found, "induced")[4:5], middle, atol=1e-4)
    assert torch.allclose(picture(found, "pixels")[4], (examples[3] + examples[30]) / 2, atol=1e-6)
    assert picture(found, "film").shape == (11, 1, 8, 16)
    assert torch.equal(picture(found, "film")[5, :, :, :8], picture(found, "induced")[4])
    assert float(fact(found, "ends")) < 1e-4


def test_only_what_is_kept(projector: Pretrained) -> None:
    """The ends are fixed points of the projector, and so is all between them."""
    found = picture(shown(TAB, projector, kept=True), "induced")
    free = picture(shown(TAB, projector, kept=False), "induced")
    f = projector.linearizer()
    with torch.no_grad():
        inside = (found > 0) & (found < 1)
        assert bool(inside.all(0).any())  # so that clipping does not hide the point
        assert not torch.allclose(found, free, atol=1e-3)
        examples = projector.examples()
        assert examples is not None
        assert torch.allclose(found[:1], f(examples[:1]).clamp(0, 1), atol=1e-5)


def test_pictures_drawn_by_the_model(flows: dict[str, Pretrained]) -> None:
    require_seeded(TAB, flows["label"], pictures=DRAWN)
    found = picture(shown(TAB, flows["label"], pictures=DRAWN, kept=False, seed=3), "induced")
    assert torch.allclose(found[[0, -1]], flows["label"].sample(2, seed=3).clamp(0, 1), atol=1e-4)
