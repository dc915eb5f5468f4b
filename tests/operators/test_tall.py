from __future__ import annotations

import pytest
import torch

from linearizer_core.operators.tall import inner_products, triangular_factor

from .zoo import normal, relative_error, seeded


@pytest.mark.parametrize("rows", [1, 5, 64, 1000])
def test_blocks_of_rows_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that end in the middle, a single one, and the least, as many rows as columns."""
    monkeypatch.setattr("linearizer_core.operators.tall.BLOCK_ELEMENTS", rows * 7)
    left, right = (normal(seeded(seed), 101, columns, dtype=torch.float32) for seed, columns in ((0, 3), (1, 4)))
    product = inner_products(left, right, torch.float64)
    assert product.dtype == torch.float64
    assert relative_error(product, left.double().T @ right.double()) < 1e-15
    factor, both = triangular_factor([left, right], torch.float64), torch.cat([left, right], dim=1).double()
    assert factor.shape == (7, 7)
    assert relative_error(factor.T @ factor, both.T @ both) < 1e-14
    assert float(factor.tril(-1).abs().max()) == 0


def test_more_columns_than_rows_and_none_at_all() -> None:
    wide = normal(seeded(0), 3, 5)
    factor = triangular_factor([wide], torch.float64)
    assert factor.shape == (3, 5)
    assert relative_error(factor.T @ factor, wide.T @ wide) < 1e-14
    assert triangular_factor([wide[:, :0]], torch.float64).shape == (0, 0)
    assert inner_products(wide[:, :0].float(), wide, torch.float64).shape == (0, 5)


def test_nearly_dependent_columns_keep_their_digits() -> None:
    """A Gram matrix would lose a difference of 1e-9 altogether."""
    column = normal(seeded(0), 500, 1)
    tall = torch.cat([column, column + 1e-9 * normal(seeded(1), 500, 1)], dim=1)
    values = torch.linalg.svdvals(triangular_factor([tall], torch.float64))
    assert relative_error(values, torch.linalg.svdvals(tall)) < 1e-14
    assert abs(float(values[1] / torch.linalg.svdvals(tall)[1]) - 1) < 1e-6


def test_gradients_of_the_inner_products() -> None:
    left, right = (normal(seeded(seed), 6, 2).requires_grad_() for seed in (0, 1))
    assert torch.autograd.gradcheck(lambda a, b: inner_products(a, b, torch.float64), (left, right))
