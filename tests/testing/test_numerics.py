"""Derivatives and tolerances that the checks rely on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from linearizer_core.errors import CheckFailure
from linearizer_core.testing.numerics import compare_gradients, conditioning, largest_error, require_close, rounding_tolerance


def test_conditioning_is_the_gain_of_both_directions() -> None:
    assert conditioning(torch.diag(torch.tensor([4.0, 2.0, 0.5]))) == pytest.approx((4.0, 2.0))


def test_tolerances_grow_with_the_gain_up_to_a_limit() -> None:
    assert rounding_tolerance(torch.float64, (1.0, 1.0), iterative=False) == 1e-9
    assert rounding_tolerance(torch.float32, (1.0, 1.0), iterative=False) == 1e-4
    assert 1e-4 < rounding_tolerance(torch.float32, (30.0, 30.0), iterative=False) < 1e-2
    assert rounding_tolerance(torch.float32, (1e6, 1e6), iterative=False) == 1e-2
    assert rounding_tolerance(torch.float64, (1.0, 1.0), iterative=True) > 1e-9


def test_errors_are_relative_above_one_and_infinite_for_what_is_no_number() -> None:
    assert require_close(torch.tensor([100.5]), torch.tensor([100.0]), 0.01, "claim", "cause") == pytest.approx(0.005)
    with pytest.raises(CheckFailure, match=r"claim: largest error 5.0e-01, tolerance 1.0e-02; cause"):
        require_close(torch.tensor([0.5]), torch.tensor([0.0]), 0.01, "claim", "cause")
    assert largest_error(torch.tensor([float("nan")]), torch.tensor([0.0])) == float("inf")
    with pytest.raises(CheckFailure, match="tolerance"):
        require_close(torch.tensor([float("nan")]), torch.tensor([0.0]), 0.01, "claim", "cause")
    with pytest.raises(CheckFailure, match=r"shape \(2,\), expected \(3,\)"):
        largest_error(torch.zeros(2), torch.zeros(3))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 5)
        self.second = nn.Linear(5, 2)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.second(self.first(x).tanh())
        return hidden * self.frozen


class Detached(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.first(x).tanh(), self.second.weight, self.second.bias.detach()) * self.frozen


def test_gradients_are_compared_and_the_culprit_is_named() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, dtype=torch.float64)
    layer, detached = Layer().double(), Detached().double()
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    assert compare_gradients(layer, x, layer, "cause") < 1e-7
    assert all(torch.equal(tensor, before[name]) for name, tensor in layer.state_dict().items())
    with pytest.raises(CheckFailure, match=r"the derivative in parameter 'second\.bias' is wrong"):
        compare_gradients(detached, x, detached, "cause")
    with pytest.raises(CheckFailure, match="the derivative in the input is wrong"):
        compare_gradients(lambda v: layer(v.detach() + 0 * v), x, layer, "cause")
