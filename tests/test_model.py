from __future__ import annotations

import pytest
import torch
from torch import nn

from linearizer_core.bijections import ElementwiseAffine, Identity
from linearizer_core.condition import Condition, require_label
from linearizer_core.cores import CoreOperator
from linearizer_core.errors import ConditionError, ShapeMismatchError
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import Dense, LinearOperator, ScaledIdentity

from .networks import largest, network, points


class Styles(CoreOperator):
    """One matrix for each of two styles."""

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__(shape, conditions={"style": 2})
        self.matrices = nn.Parameter(torch.randn(2, *shape, generator=torch.Generator().manual_seed(0)).double())

    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return Dense(self.matrices[int(require_label(condition, "style", 2, 1))])


def style(number: int) -> Condition:
    return Condition(style=torch.tensor([number]))


def test_the_bijection_of_the_domain_is_also_that_of_the_codomain_when_left_out() -> None:
    model = LinearizerModel(network("vector"), Styles((5, 5)))
    assert model.gy is model.gx
    assert model.linearizer(condition=style(0)).is_endomorphism
    assert model.domain() == model.codomain()


def test_it_hands_out_the_map_of_its_core_or_of_a_given_operator() -> None:
    model, x = LinearizerModel(network("vector"), Styles((16, 5)), network("image")), points("vector", 0)
    f = model.linearizer(condition=style(1))
    assert f(x).shape == (3, 1, 4, 4)
    assert torch.equal(f(x), Linearizer(model.gx, Dense(model.core.matrices[1]), model.gy)(x))
    given = ScaledIdentity(0.5, 5, dtype=torch.float64)
    square = LinearizerModel(network("vector"), Styles((5, 5)))
    assert square.linearizer(given).operator is given
    assert model.conditions == {"style": 2}


def test_what_only_the_core_uses_does_not_tell_spaces_apart() -> None:
    model, x = LinearizerModel(network("vector"), Styles((5, 5))), points("vector", 0)
    first, second = (model.linearizer(condition=style(number)) for number in (0, 1))
    mixed = Linearizer.mix([first, second], [0.3, 0.7])
    assert largest(mixed(x), first.codomain.add(first.codomain.scale(0.3, first(x)), first.codomain.scale(0.7, second(x)))) < 1e-9
    assert largest((second @ first)(x), second(first(x))) < 1e-9


def test_what_a_bijection_uses_reaches_it_and_it_alone() -> None:
    gy = ElementwiseAffine((5,), categories=("label", 3)).double()
    model = LinearizerModel(Identity((5,)), Styles((5, 5)), gy)
    assert model.conditions == {"label": 3, "style": 2}
    condition = Condition(label=torch.tensor([2]), style=torch.tensor([1]))
    f = model.linearizer(condition=condition)
    assert f.domain.condition is None
    assert f.codomain.condition == Condition(label=torch.tensor([2]))
    with pytest.raises(ConditionError, match="label"):
        model.linearizer(condition=style(0))(points("vector", 0))


def test_gradients_reach_all_three_parts() -> None:
    model = LinearizerModel(ElementwiseAffine((5,)).double(), Styles((5, 5)), ElementwiseAffine((5,)).double())
    model.linearizer(condition=style(1))(points("vector", 0)).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters())


def test_a_core_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match=r"core has shape \(5, 16\), the bijections need \(16, 5\)"):
        LinearizerModel(network("vector"), Styles((5, 16)), network("image"))
