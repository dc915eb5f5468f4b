from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.bijections import Bijection, CayleyMixing, FixedOrthogonal
from linearizer_core.errors import BijectionError


def matrix_of(bijection: Bijection) -> Tensor:
    """Columns are the images of the unit vectors."""
    return bijection(torch.eye(bijection.dim, dtype=torch.float64)).detach().T


def deviation(matrix: Tensor) -> float:
    return float((matrix.T @ matrix - torch.eye(len(matrix), dtype=torch.float64)).abs().max())


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 200), st.integers(0, 1000))
def test_fixed_mixings_are_orthogonal_and_repeatable(size: int, seed: int) -> None:
    mixing = FixedOrthogonal((size,), seed=seed)
    assert deviation(matrix_of(mixing)) < 1e-13
    assert torch.equal(matrix_of(mixing), matrix_of(FixedOrthogonal((size,), seed=seed)))


@pytest.mark.parametrize("size", [5, 72, 67, 784])
def test_every_output_hears_of_every_input(size: int) -> None:
    matrix = matrix_of(FixedOrthogonal((size,), seed=0))
    assert float((matrix.abs() > 1e-9).double().mean()) > 0.999


@pytest.mark.parametrize(("size", "numbers"), [(64, 64 * 64), (784, 784 + 784 + 784 + 784), (67, 67 * 67), (106, 4 + 53 * 53 + 106 + 106)])
def test_large_mixings_are_stored_as_factors(size: int, numbers: int) -> None:
    assert sum(buffer.numel() for buffer in FixedOrthogonal((size,), seed=0).buffers()) == numbers


def test_two_factors_are_a_kronecker_product_after_signs_and_permutation() -> None:
    mixing = FixedOrthogonal((72,), seed=5)
    product = torch.kron(mixing.factors["left"], mixing.factors["right"])
    permuted = torch.eye(72, dtype=torch.float64)[mixing.get_buffer("permutation")] * mixing.factors["signs"]
    assert float((matrix_of(mixing) - product @ permuted).abs().max()) < 1e-14


def test_images_are_mixed_over_channels_alone() -> None:
    for mixing in (FixedOrthogonal((72, 2, 3), seed=5), FixedOrthogonal((5, 2, 3), seed=5), CayleyMixing((5, 2, 3), seed=5)):
        x = torch.randn(2, *mixing.in_shape, dtype=torch.float64)
        flat = type(mixing)(mixing.in_shape[:1], seed=5)
        assert float((mixing(x)[..., 1, 2] - flat(x[..., 1, 2])).detach().abs().max()) < 1e-14


@pytest.mark.parametrize("size", [8, 72])
def test_casts_of_the_model_do_not_touch_the_matrix(size: int) -> None:
    mixing = FixedOrthogonal((size,), seed=0)
    before = matrix_of(mixing)
    assert torch.equal(matrix_of(mixing.half().float().to(torch.bfloat16).double()), before)
    mixing.load_state_dict({key: value.clone() for key, value in mixing.state_dict().items()})
    assert torch.equal(matrix_of(mixing.float()), before)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(0, 1000), st.floats(0, 30))
def test_cayley_is_orthogonal_for_any_parameters(size: int, seed: int, gain: float) -> None:
    mixing = CayleyMixing((size,), seed=seed)
    with torch.no_grad():
        mixing.skew.mul_(gain)
    matrix = mixing.orthogonal_matrix().detach()
    assert deviation(matrix) < 1e-12
    assert torch.linalg.det(matrix).item() == pytest.approx(1, abs=1e-11)


def test_cayley_is_the_identity_at_zero_and_mixes_at_first() -> None:
    mixing = CayleyMixing((16,), seed=0)
    assert float(mixing.orthogonal_matrix().detach().diagonal().abs().mean()) < 0.5
    torch.nn.init.zeros_(mixing.skew)
    assert torch.equal(mixing.orthogonal_matrix().detach(), torch.eye(16, dtype=torch.float64))


def test_cayley_refuses_what_it_could_not_afford() -> None:
    with pytest.raises(BijectionError, match=r"2049 channels, expected at most 2048.*FixedOrthogonal"):
        CayleyMixing((2049,), seed=0)
