from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure
from torchmetrics.image.kid import poly_mmd

from linearizer_core.errors import DataError
from linearizer_core.metrics import frechet_distance, kernel_distance, max_abs_error, precision_and_recall, psnr, relative_error, ssim

from .networks import normal

seeds = st.integers(0, 10_000)
modest = settings(deadline=None, max_examples=20)


def features(seed: int, count: int, size: int) -> Tensor:
    """Correlated features that are not centred."""
    return normal(seed, count, size) @ normal(seed + 1, size, size) + normal(seed + 2, size)


@modest
@given(seed=seeds, size=st.integers(1, 6))
def test_frechet_distance_against_the_matrix_square_root(seed: int, size: int) -> None:
    a, b = features(seed, 40, size), features(seed + 7, 30, size)
    means = (a.mean(0) - b.mean(0)).square().sum()
    first, second = (np.atleast_2d(np.cov(x.numpy().T)) for x in (a, b))
    expected = float(means) + np.trace(first + second - 2 * np.real(sqrtm(first @ second)))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(b, a) == pytest.approx(frechet_distance(a, b), rel=1e-8)


def test_frechet_distance_in_closed_form() -> None:
    # Commuting covariances: |m_a - m_b|^2 + sum_i (sd_a - sd_b)^2, for data whose moments are exactly these.
    signs = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * math.sqrt(3 / 4)  # covariance I
    a = signs * torch.tensor([2.0, 5.0]) + torch.tensor([1.0, 0.0])
    b = signs * torch.tensor([3.0, 1.0]) + torch.tensor([0.0, 2.0])
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + 1 + 16, rel=1e-12)


def test_frechet_distance_of_equal_sets_is_zero_and_never_negative() -> None:
    for seed in range(20):
        a = features(seed, 10, 15)  # fewer samples than features: a singular covariance
        assert 0 <= frechet_distance(a, a) < 1e-5
        assert 0 <= frechet_distance(a, a.flip(0)) < 1e-5


def test_frechet_distance_works_in_float64_on_any_input() -> None:
    a, b = features(0, 50, 4), features(5, 50, 4)
    assert frechet_distance(a.float(), b.float()) == pytest.approx(frechet_distance(a.float().double(), b.float().double()), rel=1e-12)
    far = 1e4
    assert frechet_distance(a + far, b + far) == pytest.approx(frechet_distance(a, b), rel=1e-6)


def test_features_that_cannot_be_compared_are_refused() -> None:
    good = features(0, 5, 3)
    for bad in (good[:1], good[0], good[None]):
        with pytest.raises(DataError, match=r"the second set of features has shape .*N of at least 2; give more samples"):
            frechet_distance(good, bad)
    with pytest.raises(DataError, match="3 and 2 features; compare features of one extractor"):
        frechet_distance(good, good[:, :2])
    broken = good.clone()
    broken[1, 0], broken[3, 2] = math.nan, math.inf
    with pytest.raises(DataError, match="the first set of features has 2 of 5 rows with infinities or NaN"):
        frechet_distance(broken, good)


def test_psnr_against_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    image, reference = torch.rand(4, 3, 8, 8, generator=generator), torch.rand(4, 3, 8, 8, generator=generator)
    assert psnr(image, reference) == pytest.approx(float(peak_signal_noise_ratio(image, reference, data_range=1.0)), rel=1e-6)
    assert psnr(reference + 0.1, reference) == pytest.approx(20, rel=1e-6)
    assert psnr(image, image) == math.inf


def test_relative_and_largest_error() -> None:
    reference = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    value = reference + torch.tensor([[0.0, 0.3], [-0.4, 0.0]])
    assert relative_error(value, reference) == pytest.approx(0.1, rel=1e-6)
    assert max_abs_error(value, reference) == pytest.approx(0.4, rel=1e-6)
    assert relative_error(reference, reference) == max_abs_error(reference, reference) == 0
    assert relative_error(reference, torch.zeros(2, 2)) == math.inf


def test_the_difference_is_taken_in_float64() -> None:
    value = torch.tensor([1.0], dtype=torch.float64) + 1e-12
    assert max_abs_error(value, torch.ones(1)) == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize("measure", [psnr, relative_error, max_abs_error])
def test_shapes_that_would_broadcast_are_refused(measure: object) -> None:
    with pytest.raises(DataError, match=r"cannot compare shapes \(4, 1, 8, 8\) and \(1, 1, 8, 8\)"):
        measure(torch.zeros(4, 1, 8, 8), torch.ones(1, 1, 8, 8))  # type: ignore[operator]


@modest
@given(seed=seeds, height=st.integers(6, 20), width=st.integers(6, 20))
def test_ssim_against_torchmetrics(seed: int, height: int, width: int) -> None:
    x = normal(seed, 2, 3, height, width).sigmoid()
    y = (x + 0.2 * normal(seed + 1, 2, 3, height, width)).clamp(0, 1)
    assert ssim(x, y) == pytest.approx(float(structural_similarity_index_measure(x, y, data_range=1.0)), abs=1e-9)
    assert ssim(x, x) == pytest.approx(1, abs=1e-12)


def test_ssim_refuses_what_it_cannot_see() -> None:
    with pytest.raises(DataError, match="sides of at least 6 pixels"):
        ssim(torch.ones(1, 3, 5, 20), torch.ones(1, 3, 5, 20))
    with pytest.raises(DataError, match="cannot compare shapes"):
        ssim(torch.ones(1, 3, 12, 20), torch.ones(2, 3, 12, 20))


def squared_discrepancy(a: Tensor, b: Tensor) -> float:
    """From the matrices of the kernel."""
    aa, bb, ab = ((x @ y.T / a.shape[1] + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
    return float(within[0] + within[1] - 2 * ab.mean())


@modest
@given(seed=seeds, size=st.integers(1, 6))
def test_kernel_distance_against_its_matrices_and_torchmetrics(seed: int, size: int) -> None:
    a, b = features(seed, 40, size), features(seed + 7, 30, size)
    assert kernel_distance(a, b) == pytest.approx(squared_discrepancy(a, b), rel=1e-9, abs=1e-9)
    as_many = features(seed + 9, 40, size)  # torchmetrics wants as many of both
    assert kernel_distance(a, as_many) == pytest.approx(float(poly_mmd(a, as_many)), rel=1e-9, abs=1e-9)


def test_kernel_distance_is_unbiased_and_grows_with_the_difference() -> None:
    draws = [kernel_distance(normal(seed, 60, 4), normal(seed + 1000, 60, 4)) for seed in range(60)]
    spread = torch.tensor(draws)
    assert abs(spread.mean()) < 3 * spread.std() / math.sqrt(len(draws))
    assert kernel_distance(normal(0, 60, 4), normal(1, 60, 4) + 1) > 10 * spread.std()


def test_kernel_distance_of_more_samples_than_a_chunk_holds() -> None:
    a, b = normal(0, 2300, 3), normal(1, 1200, 3)
    assert kernel_distance(a, b) == pytest.approx(squared_discrepancy(a, b), rel=1e-9)


@modest
@given(seed=seeds, size=st.integers(1, 5), neighbours=st.integers(1, 4))
def test_precision_and_recall_by_counting(seed: int, size: int, neighbours: int) -> None:
    generated, real = features(seed, 25, size), features(seed + 3, 30, size) + 1

    def share(points: Tensor, centres: Tensor) -> float:
        radii = [sorted(float((other - centre).norm()) for other in centres)[neighbours] for centre in centres]
        within = [any(float((point - centre).norm()) <= radius for centre, radius in zip(centres, radii, strict=True)) for point in points]
        return sum(within) / len(within)

    assert precision_and_recall(generated, real, neighbours=neighbours) == pytest.approx((share(generated, real), share(real, generated)))
    assert precision_and_recall(real, generated, neighbours=neighbours) == pytest.approx((share(real, generated), share(generated, real)))


def test_precision_falls_with_strange_samples_and_recall_with_missing_ones() -> None:
    real = normal(0, 1500, 2)
    assert precision_and_recall(real, real) == (1.0, 1.0)
    assert precision_and_recall(torch.cat([real, real[:500] + 50]), real) == (0.75, 1.0)
    few = real[real[:, 0] > 0]
    precision, recall = precision_and_recall(few, real)
    assert precision == 1.0
    assert len(few) / len(real) <= recall < 0.6


@pytest.mark.parametrize("measure", [frechet_distance, kernel_distance, precision_and_recall])
def test_sets_that_cannot_be_compared_are_refused(measure: Callable[[Tensor, Tensor], object]) -> None:
    good = normal(0, 9, 3)
    with pytest.raises(DataError, match=r"first set of features has shape \(9,\)"):
        measure(good[:, 0], good)
    with pytest.raises(DataError, match="3 and 2 features"):
        measure(good, good[:, :2])
    with pytest.raises(DataError, match="second set of features has 1 of 9 rows with infinities"):
        measure(good, torch.cat([good[:8], good[:1] / 0]))


def test_too_few_samples_for_their_neighbours() -> None:
    with pytest.raises(DataError, match="3 and 9 samples have no 3 neighbours"):
        precision_and_recall(normal(0, 3, 2), normal(1, 9, 2))
