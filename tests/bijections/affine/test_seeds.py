from __future__ import annotations

from itertools import islice

from linearizer_core.bijections import mixing_seeds


def test_saved_models_draw_the_matrices_they_were_trained_with() -> None:
    assert list(islice(mixing_seeds(0), 3)) == [0, 1, 2]
    assert list(islice(mixing_seeds(3), 3)) == [23757, 23758, 23759]


def test_neighbouring_seeds_have_nothing_in_common() -> None:
    drawn = [number for seed in range(4) for number in islice(mixing_seeds(seed), 1000)]
    assert len(set(drawn)) == len(drawn)
