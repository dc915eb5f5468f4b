from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.bijections import PLUMixing
from linearizer_core.errors import BijectionError

modest = settings(deadline=None, max_examples=25)


def scrambled(size: int, seed: int, *, triangles: float, diagonal: float, bound: float = 1.0) -> PLUMixing:
    generator = torch.Generator().manual_seed(seed)
    mixing = PLUMixing((size,), seed=seed, log_diagonal_bound=bound).double()
    with torch.no_grad():
        for parameter, gain in ((mixing.lower, triangles), (mixing.upper, triangles), (mixing.raw_log_diagonal, diagonal)):
            parameter.copy_(gain * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return mixing


@modest
@given(st.integers(1, 60), st.integers(0, 1000))
def test_it_starts_as_a_random_orthogonal_matrix_of_volume_one(size: int, seed: int) -> None:
    mixing = PLUMixing((size,), seed=seed).double()
    matrix = mixing.matrix().detach()
    assert float((matrix.T @ matrix - torch.eye(size, dtype=torch.float64)).abs().max()) < 1e-5  # its parameters were rounded to float32
    assert torch.linalg.slogdet(matrix).logabsdet.item() == pytest.approx(0, abs=1e-12)
    assert torch.equal(matrix, PLUMixing((size,), seed=seed).matrix().detach())


def test_it_mixes_at_first_and_seeds_differ() -> None:
    first, second = (PLUMixing((16,), seed=seed).matrix().detach() for seed in (0, 1))
    assert float((first.abs() > 1e-6).double().mean()) > 0.99
    assert not torch.allclose(first, second, atol=0.1)


@modest
@given(st.integers(1, 12), st.integers(0, 1000), st.floats(0, 3), st.floats(0, 1e6), st.floats(0.1, 2))
def test_it_stays_invertible_for_wild_parameters(size: int, seed: int, triangles: float, diagonal: float, bound: float) -> None:
    mixing = scrambled(size, seed, triangles=triangles, diagonal=diagonal, bound=bound).requires_grad_(False)
    x = torch.randn(4, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z, logdet = mixing.forward_and_logdet(x)
    assert bool((logdet.abs() <= bound * size * (1 + 1e-12)).all())
    lower, upper = mixing._triangles()
    condition = float(torch.linalg.cond(lower) * torch.linalg.cond(upper))
    assert torch.linalg.slogdet(mixing.matrix()).logabsdet.item() == pytest.approx(logdet[0].item(), abs=1e-14 * condition)
    assert float((mixing.inverse(z) - x).abs().max()) < 1e-14 * condition


def test_the_factors_have_the_promised_form() -> None:
    mixing = scrambled(6, 3, triangles=0.7, diagonal=2.0, bound=0.5)
    row, column = torch.tril_indices(6, 6, -1)
    lower, upper = torch.eye(6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)
    lower[row, column], upper[column, row] = mixing.lower.detach(), mixing.upper.detach()
    log_diagonal = 0.5 * torch.tanh(mixing.raw_log_diagonal.detach() / 0.5)
    permutation = torch.eye(6, dtype=torch.float64)[mixing.get_buffer("rows")]
    expected = permutation @ lower @ (upper + torch.diag(mixing.constants["diagonal"] * log_diagonal.exp()))
    assert torch.allclose(mixing.matrix().detach(), expected, atol=1e-14)
    assert torch.allclose(mixing.inverse_matrix().detach(), torch.linalg.inv(expected), rtol=1e-10)


def test_images_are_mixed_over_channels_alone() -> None:
    images, vectors = PLUMixing((5, 2, 3), seed=5), PLUMixing((5,), seed=5)
    x = torch.randn(2, 5, 2, 3, dtype=torch.float64)
    assert float((images(x)[..., 1, 2] - vectors(x[..., 1, 2])).detach().abs().max()) < 1e-14
    with torch.no_grad():
        images.raw_log_diagonal += 0.3
        vectors.raw_log_diagonal += 0.3
    assert torch.allclose(images.forward_and_logdet(x)[1], 6 * vectors.forward_and_logdet(x[..., 1, 2])[1])


def test_it_refuses_what_it_could_not_afford() -> None:
    with pytest.raises(BijectionError, match=r"2049 channels, expected at most 2048.*FixedOrthogonal"):
        PLUMixing((2049,), seed=0)
