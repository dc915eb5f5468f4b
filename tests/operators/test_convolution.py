"""Circular convolutions: compared with sums over offsets, with dense matrices, and at sizes where no matrix fits."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from linearizer_core.errors import DenseLimitError, ShapeMismatchError, SingularOperatorError, UndefinedPowerError
from linearizer_core.operators import Convolution, LowRank, ScaledIdentity
from linearizer_core.operators.matrix_functions import expm

from .zoo import normal, relative_error, seeded

modest = settings(deadline=None, max_examples=12)
grids = st.tuples(st.integers(1, 5), st.integers(1, 5))
seeds = st.integers(0, 10_000)


@st.composite
def operators(draw: st.DrawFn, channels: int = 2) -> Convolution:
    """Full or depthwise, of any grid up to 5 x 5, with kernels that are small, as large as the grid, or longer."""
    grid = draw(grids)
    sides = [draw(st.sampled_from([1, 3, 5, side])) for side in grid]
    groups = draw(st.sampled_from([1, channels]))
    return Convolution(normal(seeded(draw(seeds)), groups, channels // groups, channels // groups, *sides), grid)


def matrix(a: Convolution) -> Tensor:
    return a(torch.eye(a.shape[1], dtype=a.dtype)).T


def by_the_sum(kernel: Tensor, images: Tensor) -> Tensor:
    """The definition for a full kernel ``(C, C, h, w)`` and images ``(B, C, H, W)``: shifted images, weighted."""
    height, width = kernel.shape[-2:]
    return sum(
        torch.einsum("oi,bihw->bohw", kernel[:, :, row, column], images.roll((row - height // 2, column - width // 2), (2, 3)))
        for row in range(height)
        for column in range(width)
    )  # type: ignore[return-value]


@pytest.mark.parametrize("sides", [(1, 1), (3, 3), (3, 5), (4, 5), (4, 6), (9, 11), (3, 6)])
def test_it_is_the_sum_over_offsets(sides: tuple[int, int]) -> None:
    kernel, images = normal(seeded(0), 3, 3, *sides), normal(seeded(1), 2, 3, 4, 6)
    a = Convolution(kernel[None], (4, 6))
    assert relative_error(a(images.flatten(1)).reshape(images.shape), by_the_sum(kernel, images)) < 1e-13
    depthwise = Convolution(kernel[0][:, None, None], (4, 6))
    assert (
        relative_error(depthwise(images.flatten(1)).reshape(images.shape), by_the_sum(torch.diag_embed(kernel[0].permute(1, 2, 0)).permute(2, 3, 0, 1), images))
        < 1e-13
    )


@modest
@given(a=operators(), seed=seeds)
def test_space_and_frequencies_agree(a: Convolution, seed: int) -> None:
    """The same operator with a kernel as large as the grid is applied by FFT where its side is even, and its matrices are the transfer."""
    whole = a @ Convolution(torch.eye(2, dtype=torch.float64)[None, :, :, None, None].expand(1, 2, 2, 1, 1), a.grid)
    assert relative_error(matrix(whole), matrix(a)) < 1e-12
    values = torch.linalg.svdvals(matrix(a))
    assert relative_error(a.singular_values(), values) < 1e-11
    assert a.norm() == pytest.approx(float(values[0]), rel=1e-10)


@modest
@given(a=operators(), b=operators(), seed=seeds)
def test_algebra_stays_a_convolution(a: Convolution, b: Convolution, seed: int) -> None:
    b = Convolution(b.kernel[..., :1, :1], a.grid) if b.grid != a.grid else b
    x, y = matrix(a), matrix(b)
    identity = ScaledIdentity(1.0, a.shape[0], dtype=torch.float64)
    for found, expected in (
        (a @ b, x @ y),
        (a + b, x + y),
        (0.5 * a - b, 0.5 * x - y),
        (identity - 2 * a, torch.eye(len(x), dtype=torch.float64) - 2 * x),
        (a.T, x.T),
        ((a @ b).T, y.T @ x.T),
        (a.expm(0.3), expm(0.3 * x)),
        (a.pinv(), torch.linalg.pinv(x, rtol=1e-13)),
        (a**3, x @ x @ x),
    ):
        assert isinstance(found, Convolution)
        assert relative_error(matrix(found), expected) < 1e-9 * max(1.0, float(expected.abs().max()))


@modest
@given(a=operators())
def test_inverses_and_roots(a: Convolution) -> None:
    regular = a @ a.T + ScaledIdentity(0.5, a.shape[0], dtype=torch.float64)
    assert isinstance(regular, Convolution)
    x = matrix(regular)
    assert relative_error(matrix(regular.inverse()) @ x, torch.eye(len(x), dtype=torch.float64)) < 1e-10
    root = regular**0.5
    assert relative_error(matrix(root @ root), x) < 1e-10
    near_one = ScaledIdentity(1.0, a.shape[0], dtype=torch.float64) + a / (2 * a.norm())  # its spectrum lies right of 1/2
    assert relative_error(matrix(near_one ** (1 / 3)) @ matrix(near_one ** (2 / 3)), matrix(near_one)) < 1e-9  # type: ignore[arg-type]


def test_small_kernels_stay_small() -> None:
    a, b = (Convolution(normal(seeded(seed), 1, 4, 4, 3, 5), (16, 16)) for seed in (0, 1))
    depthwise = Convolution(normal(seeded(2), 4, 1, 1, 3, 3), (16, 16))
    assert (a + b).kernel.shape == (1, 4, 4, 3, 5)  # type: ignore[attr-defined]
    assert (a @ b).kernel.shape == (1, 4, 4, 5, 9)  # type: ignore[attr-defined]
    assert (depthwise @ depthwise + depthwise).kernel.shape == (4, 1, 1, 5, 5)  # type: ignore[attr-defined]
    assert depthwise.inverse().kernel.shape == (4, 1, 1, 16, 16)
    assert (depthwise @ a).kernel.shape == (1, 4, 4, 5, 7)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("first", "second", "together"), [(6, 2, 2), (2, 6, 2), (3, 2, 1), (6, 6, 6)])
def test_blocks_meet_in_the_fewest_that_serve_both(first: int, second: int, together: int) -> None:
    a, b = (Convolution(normal(seeded(groups), groups, 6 // groups, 6 // groups, 3, 1), (3, 2)) for groups in (first, second))
    for found, expected in ((a @ b, matrix(a) @ matrix(b)), (a - b, matrix(a) - matrix(b))):
        assert isinstance(found, Convolution)
        assert len(found.kernel) == together
        assert relative_error(matrix(found), expected) < 1e-13


def test_one_kernel_serves_every_grid() -> None:
    """Away from the edges, a larger image sees what the smaller one saw."""
    kernel = normal(seeded(0), 1, 3, 3, 3, 3)
    images = normal(seeded(1), 1, 3, 12, 10)
    large = Convolution(kernel, (12, 10))(images.flatten(1)).reshape(images.shape)
    small = Convolution(kernel, (6, 7))(images[:, :, :6, :7].flatten(1)).reshape(1, 3, 6, 7)
    assert relative_error(small[:, :, 1:-1, 1:-1], large[:, :, 1:5, 1:6]) < 1e-13


def test_structured_functions_need_no_dense_matrix_at_large_size() -> None:
    grid = (24, 16)
    a = ScaledIdentity(1.0, 12 * 24 * 16, dtype=torch.float64) + 0.04 * Convolution(normal(seeded(0), 1, 12, 12, 3, 3), grid)
    z = normal(seeded(1), 2, a.shape[1])
    assert relative_error(a.inverse()(a(z)), z) < 1e-10
    assert relative_error((a.expm(0.5) @ a.expm(-0.5))(z), z) < 1e-10
    assert relative_error((a**0.5)((a**0.5)(z)), a(z)) < 1e-10
    assert a.rank() == a.shape[0]
    assert 1 < a.cond() < 100
    with pytest.raises(DenseLimitError, match="singular_values, norm, rank, cond, pinv and inverse need no vectors"):
        a.svd()


def test_a_blur_that_drops_a_frequency_has_no_inverse() -> None:
    blur = Convolution(torch.tensor([[[[[0.25, 0.5, 0.25]]]]], dtype=torch.float64), (1, 4))  # the fastest wave becomes 0
    assert blur.rank() == 3
    assert blur.cond() == float("inf")
    with pytest.raises(SingularOperatorError, match="use pinv"):
        blur.inverse()
    assert relative_error(matrix(blur.pinv() @ blur @ blur.pinv()), matrix(blur.pinv())) < 1e-12  # type: ignore[arg-type]


def test_a_shift_by_one_on_two_places_has_no_root() -> None:
    shift = Convolution(torch.tensor([[[[[1.0, 0.0, 0.0]]]]], dtype=torch.float64), (1, 2))
    with pytest.raises(UndefinedPowerError, match="eigenvalue"):
        shift**0.5
    turn = Convolution(torch.tensor([[[0.0, -1.0], [1.0, 0.0]]], dtype=torch.float64)[..., None, None], (2, 2)) @ Convolution(
        torch.tensor([[[[[-1.0]]]], [[[[-1.0]]]]], dtype=torch.float64), (2, 2)
    )
    assert relative_error(matrix((turn**0.5) ** 2), matrix(turn)) < 1e-12  # type: ignore[arg-type]


def test_with_others_it_is_what_it_has_to_be() -> None:
    a = Convolution(normal(seeded(0), 1, 2, 2, 3, 3), (3, 3))
    other_grid = Convolution(normal(seeded(1), 1, 2, 2, 1, 3), (1, 9))
    u = normal(seeded(2), 18, 1)
    for b in (other_grid, LowRank(u, u)):
        assert relative_error((a @ b).to_dense(), a.to_dense() @ b.to_dense()) < 1e-13
        assert relative_error((a + b).to_dense(), a.to_dense() + b.to_dense()) < 1e-13


@pytest.mark.parametrize(
    ("shape", "grid"), [((2, 2, 3, 3), (4, 4)), ((1, 2, 3, 3, 3), (4, 4)), ((1, 2, 2, 2, 3), (4, 4)), ((1, 2, 2, 3, 3), (4,)), ((1, 1, 1, 1, 1), (0, 4))]
)
def test_shapes_are_checked(shape: tuple[int, ...], grid: tuple[int, ...]) -> None:
    with pytest.raises(ShapeMismatchError, match=r"expected \(G, c, c, h, w\) with h and w odd"):
        Convolution(torch.ones(shape), grid)


def test_gradients_reach_the_kernel_through_products_and_sums() -> None:
    kernel = normal(seeded(0), 1, 2, 2, 3, 3).requires_grad_()
    other = Convolution(normal(seeded(1), 2, 1, 1, 3, 3), (4, 3))
    z = normal(seeded(2), 2, 24)

    def through(kernel: Tensor) -> Tensor:
        a = Convolution(kernel, (4, 3))
        return (a @ other + 0.5 * a.T + ScaledIdentity(0.3, 24, dtype=torch.float64))(z)

    assert torch.autograd.gradcheck(through, (kernel,), fast_mode=True)


def test_an_empty_batch_stays_empty() -> None:
    for side in (3, 8):  # applied in space, and by FFT
        a = Convolution(torch.ones(1, 1, 1, side, 8 if side == 8 else 3, dtype=torch.float64), (8, 8))
        assert a(torch.empty(0, 64, dtype=torch.float64)).shape == (0, 64)
