"""Derivatives under autocast: only what the forward pass lowers is lowered on the way back."""

from __future__ import annotations

import pytest
import torch

from linearizer_core.bijections import AffineCoupling, Chain, FixedOrthogonal, MLPConditioner, ZeroPadding
from linearizer_core.condition import Condition
from linearizer_core.invertibility import gain, logdet_error
from linearizer_core.invertibility.derivatives import gradients, jacobian
from linearizer_core.testing.perturb import perturb


@pytest.fixture
def lowered():
    with torch.autocast("cpu", torch.bfloat16):
        yield


def test_gradients_are_those_of_autograd():
    x, y = torch.randn(3, 4, requires_grad=True), torch.randn(2, requires_grad=True)
    weights = torch.randn(3, 4)
    of_x, of_y = gradients(x.sin(), [x, y], weights)
    torch.testing.assert_close(of_x, weights * x.cos())
    assert torch.equal(of_y, torch.zeros(2))


def test_gradients_of_gradients():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    (first,) = gradients(x**3, [x], keep_graph=True)
    (second,) = gradients(first, [x])
    torch.testing.assert_close(second, 6 * x)


@pytest.mark.usefixtures("lowered")
def test_gain_of_a_rotation_is_one_under_autocast():
    measured = gain(FixedOrthogonal((24,), seed=3), torch.randn(4, 24))
    for each in (measured.forward, measured.inverse):
        torch.testing.assert_close(each, torch.ones(4, dtype=torch.float64), rtol=0, atol=1e-6)  # bfloat16 products are off by 1e-3


def test_jacobian_of_every_example_is_that_of_autograd():
    torch.manual_seed(0)
    label = {"label": 3}
    g = Chain(AffineCoupling((4,), MLPConditioner(2, 4, width=8, categories=label), conditions=label), ZeroPadding((4,), channels=2)).double()
    perturb(g)
    x, condition = torch.randn(3, 4, dtype=torch.float64), Condition(label=torch.tensor([2, 0, 1]))
    with torch.no_grad():
        found = jacobian(g, x, condition)
    assert not found.requires_grad
    for row in range(3):
        one = condition.rows(torch.tensor([row]))
        expected = torch.autograd.functional.jacobian(lambda v, one=one: g(v, one), x[row : row + 1]).reshape(6, 4)
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("lowered")
def test_jacobian_of_a_rotation_is_the_rotation_under_autocast():
    rotation = FixedOrthogonal((24,), seed=3)
    with torch.autocast("cpu", enabled=False):
        expected = rotation(torch.eye(24)).T
    torch.testing.assert_close(jacobian(rotation, torch.randn(2, 24)), expected.expand(2, 24, 24), rtol=0, atol=1e-6)


def test_log_determinant_under_autocast_is_as_exact_as_its_scales():
    torch.manual_seed(0)
    rotations = [FixedOrthogonal((8,), seed=seed) for seed in (0, 1)]
    # Nothing mixes after the coupling: a mixed row would pass the conditioner on its way back, and be rounded to bfloat16 there.
    g = Chain(*rotations, AffineCoupling((8,), MLPConditioner(4, 8, width=16)))
    perturb(g)
    with torch.autocast("cpu", torch.bfloat16):
        # A coupling's Jacobian is triangular: whatever bfloat16 does to the conditioner, the determinant is the product of scales that the forward pass took.
        assert logdet_error(g, torch.randn(6, 8)).maximum < 1e-5
