from __future__ import annotations

import math

import pytest
import torch

from linearizer_core.errors import ShapeMismatchError, SingularOperatorError, UndefinedPowerError
from linearizer_core.operators import DecayRotation, Product, ScaledIdentity, Sum

from .zoo import make, seeded


def vector(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_a_pair_is_multiplied_by_a_complex_number() -> None:
    a = DecayRotation(vector(0.5, -1.0), vector(2.0, 0.0), vector(3.0))
    assert a.to_dense().tolist() == [[0.5, -2, 0, 0, 0], [2, 0.5, 0, 0, 0], [0, 0, -1, 0, 0], [0, 0, 0, -1, 0], [0, 0, 0, 0, 3]]
    z = vector(1.0, 3.0, 0.0, 0.0, 0.0)
    assert complex(*a(z)[:2]) == (0.5 + 2j) * (1 + 3j)


def test_a_full_turn_is_the_identity() -> None:
    turn = DecayRotation(vector(0.0), vector(2 * math.pi), vector(0.0))
    assert torch.allclose(turn.expm(3.0).to_dense(), torch.eye(3, dtype=torch.float64), atol=1e-14)
    assert torch.allclose(turn.expm(0.5).to_dense(), torch.diag(vector(-1, -1, 1)), atol=1e-14)


def test_it_is_closed_under_what_its_layout_allows() -> None:
    a, b = make("decay_rotation", 5, 5, seeded(0)), make("decay_rotation", 5, 5, seeded(1))
    one = ScaledIdentity(2.0, 5, dtype=torch.float64)
    for same in (a @ b, a + b, a.T, a.inverse(), a.pinv(), a**3, a.expm(2.0), a + one, a @ one, one @ a, 3.0 * a):
        assert isinstance(same, DecayRotation)
    other = DecayRotation(vector(1.0), vector(1.0), vector(1.0, 2.0, 3.0))
    assert isinstance(a @ other, Product)
    assert isinstance(a + other, Sum)


def test_singular_blocks() -> None:
    a = DecayRotation(vector(0.0, 1.0), vector(0.0, 2.0), vector(0.0, 4.0))
    assert a.rank() == 3
    assert a.pinv().rest.tolist() == [0.0, 0.25]
    with pytest.raises(SingularOperatorError, match="3 coordinates to 0"):
        a.inverse()
    with pytest.raises(SingularOperatorError):
        a**-0.5
    assert torch.allclose(((a**0.5) @ (a**0.5)).to_dense(), a.to_dense())
    with pytest.raises(UndefinedPowerError, match="a pair has the eigenvalue -2 < 0"):
        DecayRotation(vector(-2.0), vector(0.0), vector()) ** 0.5


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeMismatchError, match=r"expected \(P,\), \(P,\) and \(R,\)"):
        DecayRotation(vector(1.0), vector(1.0, 2.0), vector())
