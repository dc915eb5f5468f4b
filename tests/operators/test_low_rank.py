from __future__ import annotations

import pytest
import torch

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import IdentityPlusLowRank, LowRank

from .zoo import normal, relative_error, seeded


def graded(dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Factors with the singular values 1, 1e-4, 1e-8, and a repeated column."""
    g = seeded(0)
    left, right = (torch.linalg.qr(normal(g, dim, 3)).Q for _ in range(2))
    values = torch.tensor([1.0, 1e-4, 1e-8], dtype=torch.float64)
    left = left * values
    return torch.cat([left / 2, left / 2], dim=1), torch.cat([right, right], dim=1)


@pytest.mark.parametrize(("rtol", "columns"), [(1e-12, 3), (1e-6, 2), (1e-9, 3), (1e-2, 1)])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6])
def test_compression_is_relative_to_the_low_rank_part(rtol: float, columns: int, scale: float) -> None:
    left, right = graded(12)
    left = 1000 * left
    part = LowRank(left, right).compress(rtol)
    whole = IdentityPlusLowRank(scale, left, right).compress(rtol)
    assert part.columns == whole.columns == columns
    assert float(torch.linalg.matrix_norm(part.to_dense() - left @ right.T, ord=2)) <= 1000 * rtol
    assert torch.equal(whole.left @ whole.right.T, part.to_dense())
    assert float(whole.scale) == scale


def test_products_keep_the_smaller_rank() -> None:
    g = seeded(1)
    thin, thick = LowRank(normal(g, 6, 1), normal(g, 5, 1)), LowRank(normal(g, 5, 3), normal(g, 6, 3))
    assert [(a.columns) for a in (thin @ thick, thick @ thin) if isinstance(a, LowRank)] == [1, 1]


def test_full_rank_factors_have_an_inverse_and_thin_ones_none() -> None:
    g = seeded(2)
    full = LowRank(normal(g, 3, 4), normal(g, 3, 4))
    assert relative_error((full.inverse() @ full).to_dense(), torch.eye(3, dtype=torch.float64)) < 1e-12
    with pytest.raises(SingularOperatorError, match="rank 1 at most"):
        LowRank(normal(g, 3, 1), normal(g, 3, 1)).inverse()
    with pytest.raises(SingularOperatorError):
        IdentityPlusLowRank(0.0, normal(g, 3, 1), normal(g, 3, 1)).inverse()
    with pytest.raises(SingularOperatorError):
        LowRank(normal(g, 3, 1), normal(g, 3, 1)).power(-0.5)


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeMismatchError, match=r"expected \(m, k\) and \(n, k\)"):
        LowRank(torch.ones(3, 1), torch.ones(3, 2))
    with pytest.raises(ShapeMismatchError, match=r"shapes \(\), \(3, 1\), \(4, 1\); expected"):
        IdentityPlusLowRank(1.0, torch.ones(3, 1), torch.ones(4, 1))
    with pytest.raises(ShapeMismatchError, match=r"shapes \(7,\), \(3, 1\), \(3, 1\); expected"):
        IdentityPlusLowRank(torch.ones(7), torch.ones(3, 1), torch.ones(3, 1))
