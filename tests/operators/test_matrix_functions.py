from __future__ import annotations

import math

import pytest
import torch

from linearizer_core.errors import SingularOperatorError, UndefinedPowerError
from linearizer_core.operators import Dense, IdentityPlusLowRank, LowRank
from linearizer_core.operators.matrix_functions import expm, inverse, phi_1, real_power

from .zoo import series_exponential

EPS = torch.finfo(torch.float64).eps


def rotation(angle: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=dtype)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1e-2, 0.049, 0.3, 1.0, 5.3, 5.4, 50.0])
def test_expm_is_exact_at_all_norms(angle: float) -> None:
    """The library's own matrix_exp fails this at 1e-2 and 0.049: pytorch#196592."""
    turn = torch.tensor([[0.0, -angle], [angle, 0.0]], dtype=torch.float64)
    assert float((expm(turn) - rotation(angle)).abs().max()) < 1e-15 * (1 + angle) * 2


def test_expm_differentiates_and_passes_on_what_is_not_finite() -> None:
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(expm, matrix)
    assert torch.allclose(expm(3 * matrix), series_exponential(3 * matrix), rtol=1e-11)
    assert bool(expm(torch.full((2, 2), float("inf"), dtype=torch.float64)).isnan().all())


@pytest.mark.parametrize("angle", [1e-3, 0.3, 1.0, 2.0, 3.1, 20.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_expm_against_rotations(angle: float, dtype: torch.dtype) -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=dtype)
    tolerance = 1e-13 if dtype == torch.float64 else 1e-6
    assert float((Dense(turn).expm(angle).to_dense() - rotation(angle, dtype)).abs().max()) < tolerance * (1 + angle)
    assert float((LowRank(turn, torch.eye(2, dtype=dtype)).expm(angle).to_dense() - rotation(angle, dtype)).abs().max()) < tolerance * (1 + angle)


@pytest.mark.parametrize("norm", [1e-2, 0.3, 1.5, 4.0])
def test_expm_against_a_nilpotent_closed_form(norm: float) -> None:
    shift = torch.diag(torch.full((11,), norm, dtype=torch.float64), 1)
    expected = sum(torch.diag(torch.full((12 - k,), norm**k / math.factorial(k), dtype=torch.float64), k) for k in range(12))
    assert torch.allclose(Dense(shift.float()).expm().to_dense().double(), expected, rtol=1e-5, atol=1e-9)
    assert torch.allclose(Dense(shift).expm().to_dense(), expected, rtol=1e-13, atol=1e-15)


def test_phi_1_is_regular_at_singular_matrices() -> None:
    assert torch.equal(phi_1(torch.zeros(2, 2, dtype=torch.float64)), torch.eye(2, dtype=torch.float64))
    values = torch.tensor([0.0, 1e-9, -2.0, 3.0], dtype=torch.float64)
    expected = torch.where(values == 0, torch.ones_like(values), torch.expm1(values) / values.where(values != 0, torch.ones_like(values)))
    assert torch.allclose(phi_1(torch.diag(values)).diagonal(), expected, rtol=1e-13)


@pytest.mark.parametrize("exponent", [0.5, 0.25, -0.5, 2.5])
def test_real_power_turns_rotations_by_a_share_of_the_angle(exponent: float) -> None:
    assert torch.allclose(real_power(rotation(1.2), exponent, EPS), rotation(1.2 * exponent), atol=1e-14)


def test_real_power_refuses_what_is_not_real() -> None:
    with pytest.raises(UndefinedPowerError, match="eigenvalue -1 < 0"):
        real_power(torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64)), 0.5, EPS)
    with pytest.raises(UndefinedPowerError, match="closed negative axis at -1"):
        real_power(torch.tensor([[1.0, 1.0], [0.0, -1.0]], dtype=torch.float64), 0.5, EPS)
    with pytest.raises(SingularOperatorError):
        real_power(torch.zeros(2, 2, dtype=torch.float64), -0.5, EPS)


def test_inverse_measures_the_condition() -> None:
    assert torch.allclose(inverse(rotation(0.4), EPS), rotation(-0.4), atol=1e-15)
    hilbert = 1 / (torch.arange(15, dtype=torch.float64)[:, None] + torch.arange(1, 16, dtype=torch.float64))
    with pytest.raises(SingularOperatorError, match="reciprocal condition number"):
        inverse(hilbert, 15 * EPS)


def test_the_scale_does_not_matter_where_the_low_rank_part_fills_the_space() -> None:
    eye = torch.eye(2, dtype=torch.float64)
    assert torch.allclose(IdentityPlusLowRank(-1.0, 5 * eye, eye).power(0.5).to_dense(), 2 * eye, atol=1e-14)
    with pytest.raises(UndefinedPowerError):
        IdentityPlusLowRank(-1.0, 5 * torch.eye(5, 2), torch.eye(5, 2)).power(0.5)


def test_functions_of_an_operator_without_low_rank_part() -> None:
    nothing = torch.zeros(3, 0, dtype=torch.float64)
    a = IdentityPlusLowRank(4.0, nothing, nothing)
    for answer, scale in ((a.inverse(), 0.25), (a.power(0.5), 2.0), (a.expm(0.5), math.exp(2)), (a.pinv(), 0.25), (a.power(3), 64.0)):
        assert torch.allclose(answer.to_dense(), scale * torch.eye(3, dtype=torch.float64))
