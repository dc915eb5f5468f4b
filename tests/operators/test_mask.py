from __future__ import annotations

import pytest
import torch

from linearizer_core.errors import ArtifactError, ShapeMismatchError, SingularOperatorError
from linearizer_core.operators import Diagonal, Mask, ScaledIdentity

from .zoo import normal, seeded


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_idempotent_bit_for_bit(dtype: torch.dtype) -> None:
    p = Mask(normal(seeded(0), 40) > 0, dtype=dtype)
    z = normal(seeded(1), 7, 40, dtype=dtype)
    assert isinstance(p @ p, Mask)
    assert torch.equal((p @ p)(z), p(z))
    assert torch.equal(p(p(z)), p(z))
    for same in (p.T, p.pinv(), p**0.3, p**7, p.pinv(0.5)):
        assert same is p


def test_products_and_complement() -> None:
    a, b = (Mask(torch.tensor(bits)) for bits in ([True, True, False], [True, False, False]))
    assert (a @ b).mask.tolist() == [True, False, False]
    complement = ScaledIdentity(1.0, 3) - a
    assert isinstance(complement, Diagonal)
    assert complement.values.tolist() == [0, 0, 1]
    assert torch.equal(a.expm(2.0).values, torch.tensor([2.0, 2.0, 0.0]).exp())
    assert (a.rank(), a.cond(), b.svd().values.tolist()) == (2, float("inf"), [1.0])


def test_only_the_full_mask_is_invertible() -> None:
    full = Mask(torch.ones(3, dtype=torch.bool))
    assert full.inverse() is full.power(-0.5) is full
    with pytest.raises(SingularOperatorError, match="keeps 1 of 2"):
        Mask(torch.tensor([True, False])).inverse()
    with pytest.raises(SingularOperatorError):
        Mask(torch.tensor([True, False])).power(-0.5)


def test_what_is_not_a_mask_is_refused() -> None:
    with pytest.raises(ShapeMismatchError, match="expected torch"):
        Mask(torch.ones(3))
    with pytest.raises(ArtifactError, match="values 0 and 1"):
        Mask.from_tensors({"mask": torch.tensor([0.0, 0.5])})


def test_large_masks_have_small_decompositions() -> None:
    dim = 100_000
    p = Mask(torch.arange(dim) < 32)
    assert p.svd().right.shape == (dim, 32)
    assert (p.rank(), p.svd().tail, p.svd().tail_multiplicity) == (32, 0.0, dim - 32)
