"""Seeds for the mixings of one network."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

_MIXINGS_OF_A_SEED = 7919
"""A prime, more than any network has: sequences of neighbouring seeds have nothing in common."""


def mixing_seeds(seed: int) -> Iterator[int]:
    """A seed for every mixing or permutation of a network, such that neighbouring values of ``seed`` share no matrix.

    Example:
        >>> seeds = mixing_seeds(1)
        >>> next(seeds), next(seeds)
        (7919, 7920)
    """
    return count(seed * _MIXINGS_OF_A_SEED)
