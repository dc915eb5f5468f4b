from __future__ import annotations

import pytest

from linearizer_core.bijections import squeeze_levels
from linearizer_core.errors import ConfigError


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((1, 28, 28), 2), ((3, 32, 32), 2), ((3, 64, 64), 3), ((3, 64, 32), 2), ((2, 12, 8), 1), ((1, 8, 8), 1), ((5, 6, 4), 1), ((3, 7, 5), 0), ((3, 14, 7), 0)],
)
def test_defaults_halve_until_a_side_is_small_or_odd(shape: tuple[int, ...], levels: int) -> None:
    assert squeeze_levels(shape) == levels


def test_only_what_is_asked_for_too_often_is_refused() -> None:
    assert squeeze_levels((1, 28, 28), 2) == 2
    assert squeeze_levels((1, 28, 28), 0) == squeeze_levels((12,), 0) == squeeze_levels((12,)) == squeeze_levels((4, 3)) == 0
    with pytest.raises(ConfigError, match="levels = 3: each level halves both sides, and 28x28 allows at most 2"):
        squeeze_levels((1, 28, 28), 3)
    with pytest.raises(ConfigError, match=r"levels = 1 for shape \(12,\): only images"):
        squeeze_levels((12,), 1)
