from __future__ import annotations

import pytest
import torch

from linearizer_core.errors import ArtifactError, ShapeMismatchError
from linearizer_core.operators import Dense, Diagonal, LinearOperator, LowRank, Product, ScaledIdentity, Sum

from .zoo import make, normal, relative_error, seeded


def parts() -> tuple[LinearOperator, LinearOperator]:
    return make("diagonal", 4, 4, seeded(0)), make("identity_plus_low_rank", 4, 4, seeded(1))


def test_products_are_flattened_and_merged() -> None:
    d, a = parts()
    product = (d @ a) @ (d @ a)
    assert isinstance(product, Product)
    assert [factor.kind for factor in product.factors] == ["diagonal", "identity_plus_low_rank"] * 2
    merged = (d @ a) @ (a @ d)
    assert isinstance(merged, Product)
    assert [factor.kind for factor in merged.factors] == ["diagonal", "identity_plus_low_rank", "diagonal"]
    assert isinstance(product @ Dense(torch.eye(4)), Dense)
    assert isinstance(d @ a @ ScaledIdentity(0.0, 4, dtype=torch.float64), ScaledIdentity)
    assert relative_error(merged.to_dense(), d.to_dense() @ a.to_dense() @ a.to_dense() @ d.to_dense()) < 1e-13
    assert isinstance((d @ a) ** 2, Product)


def test_sums_are_flattened_and_merged() -> None:
    d, a = parts()
    total = (d + a) + (d + a)
    assert isinstance(total, Sum)
    assert [term.kind for term in total.terms] == ["identity_plus_low_rank", "diagonal"]
    assert relative_error(total.to_dense(), 2 * (d.to_dense() + a.to_dense())) < 1e-13
    assert isinstance(total + Dense(torch.eye(4)), Dense)


def test_the_inverse_of_square_factors_stays_lazy() -> None:
    d, a = parts()
    inverse = (d @ a).inverse()
    assert isinstance(inverse, Product)
    assert relative_error((inverse @ (d @ a))(torch.eye(4, dtype=torch.float64)), torch.eye(4, dtype=torch.float64)) < 1e-11
    g = seeded(2)
    through_seven = Product(Dense(normal(g, 3, 7)), Diagonal(normal(g, 7)), Dense(normal(g, 7, 3)))
    assert isinstance(through_seven.inverse(), Dense)


def test_operands_must_fit() -> None:
    d, _ = parts()
    with pytest.raises(ShapeMismatchError, match="must be equal"):
        Product(d, Diagonal(torch.ones(3)))
    with pytest.raises(ShapeMismatchError, match="equal shapes"):
        Sum(d, LowRank(torch.ones(4, 1), torch.ones(3, 1)))


@pytest.mark.parametrize("names", [["1:diagonal.values"], ["0:diagonal.values", "2:diagonal.values"], ["values"], ["0:unheard_of.values"]])
def test_names_of_operands_are_checked(names: list[str]) -> None:
    with pytest.raises(ArtifactError):
        Product.from_tensors({name: torch.ones(2) for name in names})
