from __future__ import annotations

import pytest
import torch

from linearizer_core.errors import DenseLimitError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import Diagonal, IdentityPlusLowRank, LowRank, SharedSubspace

from .zoo import normal, relative_error, seeded, series_exponential


def pair(dim: int = 9) -> tuple[SharedSubspace, SharedSubspace]:
    g = seeded(0)
    left, right = normal(g, dim, 3), normal(g, dim, 3)
    return SharedSubspace(0.7, left, normal(g, 3, 3), right), SharedSubspace(-1.3, left, normal(g, 3, 3), right)


def test_operators_on_one_subspace_form_an_algebra() -> None:
    a, b = pair()
    x, y = a.to_dense(), b.to_dense()
    for found, expected in (
        (a @ b, x @ y),
        (a + 2 * b, x + 2 * y),
        (a**5, torch.linalg.matrix_power(x, 5)),
        (a**-2, torch.linalg.matrix_power(x, -2)),
        (a.inverse(), torch.linalg.inv(x)),
        (a.expm(0.3), series_exponential(0.3 * x)),
        (a.T @ b.T, x.T @ y.T),
    ):
        assert isinstance(found, SharedSubspace)
        assert relative_error(found.to_dense(), expected) < 1e-12


def test_with_others_it_is_identity_plus_low_rank() -> None:
    a, b = pair()
    for other in (a.T, SharedSubspace(b.scale, b.left.clone(), b.core, b.right), b.to_low_rank()):
        assert not a.shares_subspace(other)
        assert isinstance(a @ other, IdentityPlusLowRank)
        assert isinstance(other @ a, IdentityPlusLowRank)
        assert isinstance(a + other, IdentityPlusLowRank)
    assert isinstance(a + LowRank(a.left, a.right), IdentityPlusLowRank)
    assert isinstance(a @ LowRank(a.left, a.right), LowRank)


def test_the_gram_matrix_is_formed_once_and_passed_on() -> None:
    a, b = pair()
    gram = a.gram
    assert (a @ b).gram is gram  # type: ignore[attr-defined]
    assert (a @ b).inverse().expm().T.T.gram.data_ptr() == gram.data_ptr()  # type: ignore[attr-defined]


def test_singular_operators_have_no_inverse() -> None:
    u = torch.eye(4, 1, dtype=torch.float64)
    for scale, core in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(SingularOperatorError):
            SharedSubspace(scale, u, torch.tensor([[core]], dtype=torch.float64), u).inverse()


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeMismatchError, match=r"expected \(\), \(D, R\), \(R, R\)"):
        SharedSubspace(1.0, torch.ones(4, 2), torch.ones(3, 3), torch.ones(4, 2))


def test_structured_functions_need_no_dense_matrix_at_large_size() -> None:
    dim = 20_000
    g = seeded(1)
    left, right = normal(g, dim, 2) / dim**0.5, normal(g, dim, 2) / dim**0.5
    x = normal(g, 2, dim)
    shared = SharedSubspace(0.5, left, normal(g, 2, 2), right)
    for a in (shared, shared.to_low_rank()):
        assert relative_error(a.inverse()(a(x)), x) < 1e-12
        assert relative_error((a.expm(0.5) @ a.expm(-0.5))(x), x) < 1e-12
        assert relative_error((a.T @ a).power(0.5).power(2)(x), a.T(a(x))) < 1e-11
        assert relative_error(a.pinv()(a(x)), x) < 1e-12
        assert a.rank() == dim
    assert relative_error(Diagonal(left[:, 0].exp()).inverse()(x), x / left[:, 0].exp()) < 1e-14
    with pytest.raises(DenseLimitError, match="4096 x 4096"):
        shared.to_dense()


def test_another_dtype_leaves_a_narrower_subspace_alone() -> None:
    left, right = normal(seeded(0), 9, 3).float(), normal(seeded(1), 9, 3).float()
    a = SharedSubspace(0.7, left, normal(seeded(2), 3, 3).float(), right)
    assert a.to(torch.float32) is a
    wide = a.to(torch.float64)
    assert (wide.dtype, wide.left.dtype) == (torch.float64, torch.float32)
    assert wide.left is left
    assert relative_error((wide @ wide).to_dense(), wide.to_dense() @ wide.to_dense()) < 1e-14  # the Gram matrix is that of float64
    assert wide.to(torch.float32).shares_subspace(a)
    assert a.to(torch.bfloat16).left.dtype == torch.bfloat16
    assert wide.to(torch.float32).to_dense().dtype == torch.float32
