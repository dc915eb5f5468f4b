"""Norms, singular values and truncation: what is left of an operator at a smaller rank."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.errors import TruncationError
from linearizer_core.operators import Dense, Diagonal, IdentityPlusLowRank, LinearOperator, LowRank, Mask, ScaledIdentity, SharedSubspace

from .zoo import MAKERS, make, normal, relative_error, seeded

CASES = {"kind": st.sampled_from(sorted(MAKERS)), "m": st.integers(1, 6), "n": st.integers(1, 6), "seed": st.integers(0, 10_000)}


def dense(operator: LinearOperator) -> torch.Tensor:
    return operator(torch.eye(operator.shape[1], dtype=operator.dtype)).T


@settings(deadline=None, max_examples=80)
@given(**CASES)
def test_norm_and_singular_values(kind: str, m: int, n: int, seed: int) -> None:
    a = make(kind, m, n, seeded(seed))
    expected = torch.linalg.svdvals(dense(a))
    assert a.norm() == pytest.approx(float(expected[0]), rel=1e-10, abs=1e-14)
    assert relative_error(a.singular_values(), expected) < 1e-11
    assert a.to(torch.float32).singular_values().dtype == torch.float32
    assert a.T.norm() == pytest.approx(a.norm(), rel=1e-10, abs=1e-14)


@settings(deadline=None, max_examples=120)
@given(rank=st.integers(0, 6), **CASES)
def test_no_operator_of_that_rank_is_nearer(kind: str, m: int, n: int, seed: int, rank: int) -> None:
    """Eckart and Young: the distance is the next singular value, and the root of the sum of squares of all that are left out."""
    a = make(kind, m, n, seeded(seed))
    matrix = dense(a)
    values = torch.linalg.svdvals(matrix)
    if rank > len(values):
        with pytest.raises(TruncationError, match=f"expected a rank from 0 to {len(values)}"):
            a.truncate(rank)
        return
    try:
        cut = a.truncate(rank)
    except TruncationError:
        assert kind in ("identity_plus_low_rank", "identity_plus_nothing", "shared_subspace")
        assert 0 < rank < len(values)
        assert float(values[rank - 1] - values[rank]) < 1e-12
        return
    left_out = values[rank:]
    difference = torch.linalg.svdvals(matrix - dense(cut))
    assert float(difference[0]) == pytest.approx(float(left_out[0]) if len(left_out) else 0.0, abs=1e-10)
    assert float(difference.norm()) == pytest.approx(float(left_out.norm()), abs=1e-10)
    assert torch.linalg.matrix_rank(dense(cut), atol=1e-10) <= rank
    assert cut.dtype == a.dtype


def test_the_multiple_of_the_identity_is_kept_or_dropped_as_a_whole() -> None:
    u = torch.eye(6, 2, dtype=torch.float64)
    for a in (IdentityPlusLowRank(0.5, u * torch.tensor([2.0, -0.4]).double(), u), SharedSubspace(0.5, u, torch.diag(torch.tensor([2.0, -0.4]).double()), u)):
        assert a.singular_values().tolist() == pytest.approx([2.5, 0.5, 0.5, 0.5, 0.5, 0.1])
        for rank in (2, 3, 4):
            message = rf"truncate\({rank}\) .* 1 are above 0.5, which comes 4 times, .*; expected a rank up to 1, or from 5"
            with pytest.raises(TruncationError, match=message):
                a.truncate(rank)
        assert isinstance(a.truncate(1), LowRank)
        five = a.truncate(5)
        assert isinstance(five, IdentityPlusLowRank)
        assert five.to_dense().diagonal().tolist() == pytest.approx([2.5, 0.0, 0.5, 0.5, 0.5, 0.5])
        assert a.truncate(6) is a
        assert relative_error(a.truncate(0).to_dense() + 1, torch.ones(6, 6, dtype=torch.float64)) < 1e-15


def test_of_equal_coordinates_the_first_are_kept() -> None:
    assert Diagonal(torch.tensor([1.0, -3.0, 1.0, 1.0])).truncate(3).values.tolist() == [1.0, -3.0, 1.0, 0.0]
    kept = Mask(torch.tensor([False, True, True, True])).truncate(2)
    assert isinstance(kept, Mask)
    assert kept.mask.tolist() == [False, True, True, False]
    assert Mask(torch.tensor([False, True])).truncate(2).mask.tolist() == [False, True]
    assert ScaledIdentity(-2.0, 3).truncate(1).to_dense().diagonal().tolist() == [-2.0, 0.0, 0.0]
    for a in (Diagonal(torch.ones(3)), Mask(torch.ones(3, dtype=torch.bool)), ScaledIdentity(1.0, 3), Dense(torch.eye(3))):
        for rank in (-1, 4):
            with pytest.raises(TruncationError, match=rf"truncate\({rank}\) of {type(a).__name__}.*expected a rank from 0 to 3"):
                a.truncate(rank)


def test_a_truncated_diagonal_passes_gradients_to_what_it_keeps() -> None:
    values = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(Diagonal(values).truncate(2)(torch.ones(3)).sum(), values)
    assert gradient.tolist() == [0.0, 1.0, 1.0]


def test_large_operators_are_measured_and_cut_without_a_full_matrix() -> None:
    dim = 200_000
    u, v = (normal(seeded(seed), dim, 3) / dim**0.5 for seed in (0, 1))
    for a in (LowRank(u, v), IdentityPlusLowRank(0.01, u, v), SharedSubspace(0.01, u, torch.eye(3, dtype=torch.float64), v)):
        cut = a.truncate(2)
        assert isinstance(cut, LowRank)
        assert a.singular_values().shape == (dim,)
        values = a.svd().values
        assert (a - cut).norm() == pytest.approx(float(values[2]), rel=1e-9)
        assert cut.norm() == pytest.approx(a.norm(), rel=1e-9)


def test_a_mixed_subspace_is_the_same_operator() -> None:
    """M in float64 on U and V that stay in float32: nothing is rounded, and functions of it are those of the wide operator."""
    g = seeded(0)
    left, right, core = normal(g, 9, 3, dtype=torch.float32), normal(g, 9, 3, dtype=torch.float32), normal(g, 3, 3)
    mixed = SharedSubspace(0.3, left, core, right)
    wide = SharedSubspace(0.3, left.double(), core, right.double())
    assert (mixed.dtype, mixed.left.dtype, mixed.gram.dtype) == (torch.float64, torch.float32, torch.float64)
    z = normal(g, 4, 9)
    low_rank = LowRank(left.double(), right.double())
    for function in (
        lambda a: a(z), lambda a: a.T(z), lambda a: a.to_dense(), lambda a: a.inverse()(z), lambda a: a.pinv()(z), lambda a: a.expm(0.5)(z),
        lambda a: (a @ a)(z), lambda a: a.singular_values(), lambda a: a.svd().values, lambda a: (a + a)(z), lambda a: (a**3)(z),
        lambda a: a.truncate(2).to_dense(),
        lambda a: (a @ low_rank)(z), lambda a: (low_rank + a)(z),
    ):  # fmt: skip
        assert relative_error(function(mixed), function(wide)) < 1e-12
    assert mixed(z.float()).dtype == torch.float64
    narrow = mixed.to(torch.float32)
    assert narrow.left is left
    assert narrow(z.float()).dtype == torch.float32


def test_two_constants_in_one_place_are_one_subspace() -> None:
    u = torch.randn(7, 2, requires_grad=True)
    first, second = (SharedSubspace(1.0, u.detach(), torch.eye(2), u.detach()) for _ in range(2))
    assert isinstance(first @ second, SharedSubspace)
    assert not first.shares_subspace(SharedSubspace(1.0, u.detach().clone(), torch.eye(2), u.detach()))
    assert not first.shares_subspace(SharedSubspace(1.0, u.detach()[:, :1], torch.eye(1), u.detach()[:, :1]))
    tracked = SharedSubspace(1.0, u, torch.eye(2), u)
    assert not first.shares_subspace(tracked)
    assert tracked.shares_subspace(tracked.T.T)
    (gradient,) = torch.autograd.grad((first @ tracked)(torch.ones(7)).sum(), u)
    assert float(gradient.abs().max()) > 0
    with torch.no_grad():
        assert first.shares_subspace(tracked)
