from __future__ import annotations

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, FixedAffine, Identity, Shape, full_precision
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, InputDtypeError, LogDetUnavailableError


class Cube(Bijection):
    """A bijection without log-determinant, whose inverse has no gradient and is found by iteration."""

    inverse_kind = "iterative"
    inverse_grad = "none"

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x**3

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z.detach().sign() * z.detach().abs() ** (1 / 3)


@pytest.mark.parametrize(("in_shape", "out_shape"), [((), None), ((0, 2), None), ((2, 3), (5,))])
def test_impossible_shapes_are_refused(in_shape: Shape, out_shape: Shape | None) -> None:
    with pytest.raises(BijectionError, match="same number of elements"):
        Cube(in_shape, out_shape)


def test_a_bijection_without_log_determinant_says_so() -> None:
    cube = Cube((2,))
    assert not cube.has_logdet
    for call in (cube.forward_and_logdet, cube.inverse_and_logdet, cube.inv.forward_and_logdet, cube.inv.inverse_and_logdet):
        with pytest.raises(LogDetUnavailableError, match="Cube has no log-determinant"):
            call(torch.ones(1, 2))


def test_the_inverse_view_declares_what_the_bijection_declares() -> None:
    view = Cube((2,)).inv
    assert (view.inverse_kind, view.inverse_grad, view.has_logdet) == ("iterative", "none", False)
    assert Identity((2,)).inv.has_logdet
    assert not Identity((2,)).inv.bit_exact


def test_full_precision_turns_autocast_off_and_on_again() -> None:
    a = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with full_precision(a):
            assert (a @ a).dtype == torch.float32
        assert (a @ a).dtype == torch.bfloat16


def test_repr_shows_shapes_and_conditions() -> None:
    assert repr(Cube((1, 2, 2), (4,), conditions={"label": 3})) == "Cube((1, 2, 2) -> (4,), conditions={'label': 3})"


def test_integers_are_refused_rather_than_rounded() -> None:
    scale = FixedAffine((2,), shift=-0.5, scale=1.5)
    for call in (scale, scale.inverse):
        with pytest.raises(InputDtypeError, match=r"FixedAffine: .* has dtype torch.int64, expected a floating one; convert it"):
            call(torch.tensor([[1, 2]]))
