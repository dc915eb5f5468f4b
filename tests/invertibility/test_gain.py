"""Gains against singular values, with every kind of backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.bijections import AdditiveCoupling, Bijection, FixedAffine, Identity
from linearizer_core.condition import Condition
from linearizer_core.factory import create_backbone
from linearizer_core.invertibility import gain
from linearizer_core.invertibility.derivatives import jacobian


def perturbed(seed: int = 0) -> Bijection:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        g = create_backbone("coupling", (6,), dense={"couplings": 2, "width": 4}).double()
        with torch.no_grad():
            for parameter in g.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    return g


def points(count: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class _Once(torch.autograd.Function):
    """Triples; its backward pass cannot be differentiated and says so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * gradient


class _Silent(torch.autograd.Function):
    """Triples; its backward pass cuts the graph without a word."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 3 * gradient.detach()


class Custom(Bijection):
    """``(3 x_1, 2 x_2)``, the first coordinate through a custom function."""

    def __init__(self, function: Any) -> None:
        super().__init__((2,))
        self.function = function

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat([self.function.apply(x[:, :1]), 2 * x[:, 1:]], 1)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z / torch.tensor([3.0, 2.0]).to(z)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000))
def test_gains_are_the_extreme_singular_values(seed: int) -> None:
    g, x = perturbed(seed), points(seed=seed)
    values = torch.linalg.svdvals(jacobian(g, x))
    measured = gain(g, x, iterations=100)
    torch.testing.assert_close(measured.forward, values[:, 0], rtol=1e-2, atol=0)
    torch.testing.assert_close(measured.inverse, 1 / values[:, -1], rtol=1e-2, atol=0)
    assert measured.maximum == max(float(measured.forward.max()), float(measured.inverse.max()))


def test_few_iterations_stay_below() -> None:
    g, x = perturbed(), points()
    values = torch.linalg.svdvals(jacobian(g, x))
    few, more = gain(g, x, iterations=1), gain(g, x, iterations=50)
    assert bool((few.forward < more.forward).all())
    assert bool((more.forward <= values[:, 0] * (1 + 1e-9)).all())
    assert bool((more.inverse <= (1 + 1e-9) / values[:, -1]).all())


def test_examples_have_gains_of_their_own() -> None:
    g, x = perturbed(), points(3)
    together = gain(g, x, iterations=50).forward
    alone = torch.cat([gain(g, x[row : row + 1], iterations=50).forward for row in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-2, atol=0)
    assert float(together.max() / together.min()) > 1.01


@pytest.mark.parametrize("function", [_Once, _Silent])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_custom_functions_fall_back_to_differences(function: Any, dtype: torch.dtype) -> None:
    measured = gain(Custom(function), torch.rand(4, 2, dtype=dtype), iterations=30)
    torch.testing.assert_close(measured.forward, torch.full((4,), 3.0).double(), rtol=1e-3, atol=0)
    torch.testing.assert_close(measured.inverse, torch.full((4,), 0.5).double(), rtol=1e-3, atol=0)


def test_rounding_with_straight_through_gradients_has_the_gain_of_what_it_rounds() -> None:
    class Rounded(torch.nn.Module):
        def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
            smooth = 2 * x
            return smooth + (smooth.round() - smooth).detach()

    # The shear [[1, 0], [2, 1]] has singular values sqrt(2) +- 1.
    measured = gain(AdditiveCoupling((2,), Rounded()), torch.rand(3, 2), iterations=50)
    torch.testing.assert_close(measured.forward, torch.full((3,), 1 + 2**0.5).double(), rtol=1e-4, atol=0)
    torch.testing.assert_close(measured.inverse, torch.full((3,), 1 + 2**0.5).double(), rtol=1e-4, atol=0)


def test_an_inverse_without_gradient_has_no_known_gain() -> None:
    class Opaque(Custom):
        inverse_grad = "none"

    measured = gain(Opaque(_Once), torch.rand(2, 2))
    assert bool(measured.inverse.isnan().all())
    assert measured.maximum == torch.inf


def test_constants_and_zero_gain() -> None:
    measured = gain(Identity((3,)), torch.zeros(2, 3))
    assert measured.forward.tolist() == pytest.approx([1.0, 1.0])
    tiny = gain(FixedAffine((3,), shift=0.0, scale=1e-20), torch.rand(2, 3))
    assert tiny.inverse.tolist() == pytest.approx([1e20, 1e20])


def test_nothing_is_changed() -> None:
    g, x = perturbed(), points()
    state, before = torch.get_rng_state(), x.clone()
    first = gain(g, x)
    with torch.no_grad():
        again = gain(g, x)
    assert torch.equal(first.inverse, again.inverse)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(x, before)
    assert not x.requires_grad
    assert all(parameter.grad is None for parameter in g.parameters())


# --- under autocast -------------------------------------------------------------------------------------


class Lowered(Custom):
    """``x`` plus what a linear layer makes of it, through a custom function: two products that autocast lowers to bfloat16."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first, self.second = torch.nn.Linear(2, 16), torch.nn.Linear(16, 2)

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return self.function.apply(x) + self.second(self.first(x).tanh()).to(x.dtype)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return self.forward(z)  # no inverse, yet a map that autocast lowers


@pytest.mark.parametrize("function", [_Once, _Silent])
def test_autocast_changes_no_gain(function: Any) -> None:
    g, x = Lowered(function), torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    expected = gain(g, x, iterations=60)
    with torch.autocast("cpu", torch.bfloat16):
        assert g.first(x).dtype == torch.bfloat16
        measured = gain(g, x, iterations=60)
    assert torch.equal(measured.forward, expected.forward)
    assert torch.equal(measured.inverse, expected.inverse)
    torch.testing.assert_close(measured.forward, torch.linalg.matrix_norm(jacobian(g, x), 2).double(), rtol=1e-3, atol=0)
