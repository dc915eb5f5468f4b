from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import LatticeError
from linearizer_lattice.lattice import Lattice, straight_through

from .wild import same_bits

LATTICE = Lattice(bits=14)
WIDE = Lattice(bits=14, dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(st.integers(-(2**23), 2**23), st.integers(-(2**23), 2**23))
def test_sums_in_float32_are_exact_up_to_the_limit(i: int, j: int) -> None:
    x, y = (torch.tensor([k * LATTICE.step], dtype=torch.float32) for k in (i, j))
    assert abs(x.item()) <= LATTICE.limit
    assert (x + y).item() == (i + j) * LATTICE.step
    assert torch.equal((x + y) - y, x)


@settings(deadline=None, max_examples=30)
@given(st.integers(-(2**50), 2**50), st.integers(-(2**50), 2**50))
def test_sums_in_float64_are_exact_up_to_the_limit(i: int, j: int) -> None:
    x, y = (torch.tensor([k * WIDE.step], dtype=torch.float64) for k in (i, j))
    assert abs(x.item()) <= WIDE.limit
    assert (x + y).item() == (i + j) * WIDE.step


def test_limits() -> None:
    assert (LATTICE.step, LATTICE.limit) == (2.0**-14, 512.0)
    assert WIDE.limit == 2.0**36
    assert (LATTICE.within(3.0).bound, LATTICE.within(3.0).within(5.0).bound) == (3.0, 3.0)


def test_snapping_rounds_halves_to_even_and_gives_no_negative_zero() -> None:
    step = LATTICE.step
    given = torch.tensor([0.4, 0.5, 1.5, -0.4, -0.5, -0.6, -0.0]) * step
    assert same_bits(LATTICE.snap(given), torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0, -1.0, 0.0]) * step)


def test_the_gradient_of_snapping_is_that_of_the_identity() -> None:
    x = torch.randn(5, requires_grad=True)
    weights = torch.randn(5)
    (gradient,) = torch.autograd.grad((weights * LATTICE.snap(x)).sum(), x)
    assert torch.equal(gradient, weights)


def test_straight_through_keeps_the_bits_of_the_value() -> None:
    value, smooth = 1e-3 * torch.randn(100), 1e3 * torch.randn(100, requires_grad=True)
    assert same_bits(straight_through(value, smooth), value)


def test_what_may_not_enter_is_named() -> None:
    lattice = LATTICE.within(10.0)
    fine = torch.tensor([[10.0, -10.0]])
    lattice.admit(fine, fine, what="the data", off_grid=False)
    with pytest.raises(LatticeError, match=r"2 of 4 values of the data .* first is 10\.5 at \[0, 1\].*range of 10; .*lower bits"):
        lattice.admit(torch.tensor([[1.0, 10.5], [0.0, -11.0]]), torch.tensor([[1.0, 10.5], [0.0, -11.0]]), what="the data", off_grid=False)
    given = torch.tensor([0.0, 0.3], dtype=torch.float64)
    with pytest.raises(LatticeError, match=r"first is 0\.3 at \[1\], between points of step 6\.1.*off_grid = 'snap'"):
        lattice.admit(given, lattice.nearest(given), what="the data", off_grid=given != lattice.nearest(given))


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_do_not_enter(strange: float) -> None:
    given = torch.tensor([0.0, strange])
    with pytest.raises(LatticeError, match=r"at \[1\]"):
        LATTICE.admit(given, LATTICE.nearest(given), what="the data", off_grid=False)


def test_dtypes_that_do_not_hold_the_lattice_are_refused() -> None:
    for dtype in (torch.float32, torch.float64):
        LATTICE.require_dtype(torch.zeros(1, dtype=dtype), "the data")
    WIDE.require_dtype(torch.zeros(1, dtype=torch.float64), "the data")
    for dtype in (torch.bfloat16, torch.float16, torch.int64):
        with pytest.raises(LatticeError, match=r"give torch\.float32 or torch\.float64"):
            LATTICE.require_dtype(torch.zeros(1, dtype=dtype), "the data")
    with pytest.raises(LatticeError, match=r"give torch\.float64 .*precision = 'float32'"):
        WIDE.require_dtype(torch.zeros(1), "the latent")
