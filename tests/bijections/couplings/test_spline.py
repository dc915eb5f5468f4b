from __future__ import annotations

from bisect import bisect_right

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.bijections import rational_quadratic_spline

B = 2.5


def bins(rows: int, count: int, *, roughness: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Widths, heights and derivatives of as many random splines."""
    generator = torch.Generator().manual_seed(seed)
    raw = roughness * torch.randn(3, rows, count, dtype=torch.float64, generator=generator)
    widths, heights = 2 * B * raw[:2].softmax(-1)
    return widths, heights, raw[2, :, 1:].exp()


def by_hand(x: float, widths: list[float], heights: list[float], derivatives: list[float]) -> tuple[float, float]:
    """One value and its derivative, from the formulas of the paper."""
    if abs(x) > B:
        return x, 1.0
    knots = [-B + sum(widths[:number]) for number in range(len(widths) + 1)]
    left = min(bisect_right(knots, x), len(widths)) - 1
    d0, d1 = ([1.0, *derivatives, 1.0])[left : left + 2]
    w, h = widths[left], heights[left]
    s, xi = h / w, (x - knots[left]) / w
    below = s + (d1 + d0 - 2 * s) * xi * (1 - xi)
    value = -B + sum(heights[:left]) + h * (s * xi**2 + d0 * xi * (1 - xi)) / below
    return value, s**2 * (d1 * xi**2 + 2 * s * xi * (1 - xi) + d0 * (1 - xi) ** 2) / below**2


parameters = st.tuples(st.integers(2, 12), st.floats(0.0, 1.0), st.integers(0, 10**6))


@settings(deadline=None, max_examples=30)
@given(parameters)
def test_the_formula(parameters: tuple[int, float, int]) -> None:
    count, roughness, seed = parameters
    spline = bins(1, count, roughness=roughness, seed=seed)
    x = torch.linspace(-B - 1, B + 1, 61, dtype=torch.float64)
    y, log_derivative = rational_quadratic_spline(x, *(each.expand(61, -1) for each in spline), interval=B)
    expected = torch.tensor([by_hand(float(value), *(each[0].tolist() for each in spline)) for value in x], dtype=torch.float64)
    assert torch.allclose(y, expected[:, 0], rtol=0, atol=1e-13)
    assert torch.allclose(log_derivative, expected[:, 1].log(), rtol=0, atol=1e-11)


@settings(deadline=None, max_examples=30)
@given(parameters)
def test_the_inverse_undoes_it_both_ways(parameters: tuple[int, float, int]) -> None:
    count, roughness, seed = parameters
    spline = bins(500, count, roughness=roughness, seed=seed)
    x = (B + 1) * (2 * torch.rand(500, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1)
    y, log_derivative = rational_quadratic_spline(x, *spline, interval=B)
    back, inverse_log_derivative = rational_quadratic_spline(y, *spline, interval=B, inverse=True)
    # Where the derivative is small the inverse magnifies the rounding of y.
    assert ((back - x).abs() * log_derivative.exp().clamp_max(1)).max() < 1e-13
    assert (log_derivative + inverse_log_derivative).abs().max() < 1e-9
    again, _ = rational_quadratic_spline(rational_quadratic_spline(x, *spline, interval=B, inverse=True)[0], *spline, interval=B)
    assert (again - x).abs().max() < 1e-11


def test_it_is_continuous_with_its_derivative_at_knots_and_ends() -> None:
    widths, heights, derivatives = bins(1, 6, seed=3)
    knots = torch.cat([torch.tensor([0.0], dtype=torch.float64), widths[0].cumsum(0)]) - B
    step = 1e-9
    sides = [rational_quadratic_spline(knots + side, *(each.expand(7, -1) for each in (widths, heights, derivatives)), interval=B) for side in (-step, step)]
    assert (sides[0][0] - sides[1][0]).abs().max() < 1e-7
    assert (sides[0][1] - sides[1][1]).abs().max() < 1e-6
    at_knots = torch.cat([torch.ones(1, 1), derivatives, torch.ones(1, 1)], 1)[0]
    assert torch.allclose(sides[1][1].exp(), at_knots, atol=1e-6)
    heights_at_knots = torch.cat([torch.tensor([0.0], dtype=torch.float64), heights[0].cumsum(0)]) - B
    assert torch.allclose(sides[1][0], heights_at_knots, atol=1e-7)


@pytest.mark.parametrize("inverse", [False, True])
def test_values_on_knots_and_ends_come_back(inverse: bool) -> None:
    spline = bins(1, 5, seed=4)
    lengths = spline[1] if inverse else spline[0]
    knots = torch.cat([torch.tensor([-B]), lengths[0].cumsum(0)[:-1] - B, torch.tensor([B])]).double()
    rows = [each.expand(6, -1) for each in spline]
    image, _ = rational_quadratic_spline(knots, *rows, interval=B, inverse=inverse)
    assert torch.allclose(rational_quadratic_spline(image, *rows, interval=B, inverse=not inverse)[0], knots, rtol=0, atol=1e-14)


def test_outside_every_bit_is_kept() -> None:
    x = torch.tensor([-1e30, -B - 1e-6, B + 1e-6, 77.7, torch.inf])
    spline = [each.float() for each in bins(5, 4)]
    for inverse in (False, True):
        image, log_derivative = rational_quadratic_spline(x, *spline, interval=B, inverse=inverse)
        assert torch.equal(image, x)
        assert torch.equal(log_derivative, torch.zeros(5))


@pytest.mark.parametrize("inverse", [False, True])
def test_gradients_of_everything(inverse: bool) -> None:
    spline = [each.requires_grad_() for each in bins(20, 5, seed=5)]
    x = (1.3 * B * torch.linspace(-1, 1, 20, dtype=torch.float64)).requires_grad_()

    # Widths and heights have to add up: gradients are those along such directions.
    def call(x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor) -> tuple[Tensor, Tensor]:
        widths, heights = (2 * B * each / each.sum(-1, keepdim=True) for each in (widths, heights))
        return rational_quadratic_spline(x, widths, heights, derivatives, interval=B, inverse=inverse)

    assert torch.autograd.gradcheck(call, (x, *spline), fast_mode=True)


def test_the_log_derivative_is_that_of_autograd() -> None:
    x = torch.linspace(-3, 3, 200, dtype=torch.float64).requires_grad_()
    for inverse in (False, True):
        image, log_derivative = rational_quadratic_spline(x, *bins(200, 7, seed=6), interval=B, inverse=inverse)
        (gradient,) = torch.autograd.grad(image.sum(), x)
        assert torch.allclose(gradient.log(), log_derivative, rtol=0, atol=1e-12)


@pytest.mark.parametrize("a", [1.2, 2.0, 10.0])
def test_slopes_within_a_keep_derivatives_within_its_cube(a: float) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, xi = 4000, torch.linspace(0, 1, 101, dtype=torch.float64)
    # One bin of width 1 and slope s in the middle, with extreme and random ends, between two bins that make up for it.
    s, d0, d1 = (a ** (2 * torch.rand(3, rows, 1, dtype=torch.float64, generator=generator) - 1)).unbind(0)
    s, d0, d1 = (torch.where(torch.rand(rows, 1, generator=generator) < 0.5, torch.where(each < 1, 1 / a, a), each) for each in (s, d0, d1))
    interval = 10 * a
    widths = torch.tensor([interval, 1.0, interval - 1.0], dtype=torch.float64)
    heights = torch.cat([torch.full_like(s, interval), s, interval - s], -1)
    every = (rows, len(xi), 3)
    _, log_derivative = rational_quadratic_spline(
        xi.expand(rows, -1) * (1 - 1e-12),
        widths.expand(every),
        heights[:, None].expand(every),
        torch.cat([d0, d1], -1)[:, None].expand(*every[:2], 2),
        interval=interval,
    )
    largest = log_derivative.abs().max().exp()
    assert float(largest) < a**3 * (1 + 1e-9)
    assert float(largest) > a**1.5  # the extremes were tried


def test_straight_and_nearly_straight_pieces_are_undone_in_float32() -> None:
    x = torch.linspace(-1, 1, 101)
    for bend in (0.0, 1e-7, 1e-4):
        spline = torch.ones(101, 2), torch.ones(101, 2), torch.full((101, 1), 1 + bend)
        y, _ = rational_quadratic_spline(x, *spline, interval=1.0)
        assert (rational_quadratic_spline(y, *spline, interval=1.0, inverse=True)[0] - x).abs().max() < 3e-7


def test_float32_loses_no_more_than_rounding() -> None:
    spline = [each.float() for each in bins(20000, 8, roughness=0.5, seed=7)]
    x = B * (2 * torch.rand(20000, generator=torch.Generator().manual_seed(0)) - 1)
    y, log_derivative = rational_quadratic_spline(x, *spline, interval=B)
    back, _ = rational_quadratic_spline(y, *spline, interval=B, inverse=True)
    assert ((back - x).abs() * log_derivative.exp().clamp_max(1)).max() < 4e-6
