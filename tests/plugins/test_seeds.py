"""The matrices of a network follow from its seed: a saved model is rebuilt with those it was trained with."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from linearizer_core.bijections import Bijection, FixedOrthogonal, Permutation
from linearizer_core.factory import create_backbone

from .chains import normal

SMALL = {"dense": {"couplings": 4, "width": 4}}


@pytest.mark.parametrize(
    ("name", "options", "kind", "first"),
    [
        ("coupling", SMALL, FixedOrthogonal, 0),
        ("glow", {"mixing": "fixed", "width": 4}, FixedOrthogonal, 0),
        ("lattice", SMALL, Permutation, 0),
        ("transformer", {"couplings": 4, "width": 8}, FixedOrthogonal, 1),
    ],
)
def test_mixings_have_the_seeds_of_saved_models(name: str, options: dict[str, Any], kind: type[Any], first: int) -> None:
    g = create_backbone(name, (12,), seed=2, **options)
    mixings = [brick for brick in g.modules() if isinstance(brick, kind)]
    assert len(mixings) >= 2
    for number, mixing in enumerate(mixings):
        expected: Bijection = kind(mixing.in_shape, seed=2 * 7919 + first + number)
        x = normal(1, *mixing.in_shape)
        assert torch.equal(mixing(x), expected(x))
