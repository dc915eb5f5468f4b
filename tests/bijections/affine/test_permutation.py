from __future__ import annotations

import torch

from linearizer_core.bijections import Permutation


def test_channels_are_reordered_and_none_is_lost() -> None:
    permutation = Permutation((30, 2), seed=1)
    x = torch.arange(60.0).reshape(1, 30, 2)
    z = permutation(x)
    assert not torch.equal(z, x)
    assert sorted(map(tuple, z[0].tolist())) == list(map(tuple, x[0].tolist()))


def test_the_seed_decides() -> None:
    x = torch.arange(30.0).reshape(1, 30)
    assert torch.equal(Permutation((30,), seed=1)(x), Permutation((30,), seed=1)(x))
    assert not torch.equal(Permutation((30,), seed=1)(x), Permutation((30,), seed=2)(x))
