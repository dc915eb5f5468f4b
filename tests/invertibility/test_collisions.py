"""Pairs of inputs whose latents coincide."""

from __future__ import annotations

import torch
from torch import Tensor

from linearizer_core.bijections import FixedAffine, Identity, TractableBijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility import collisions


class Ignorant(TractableBijection):
    """Drops the first coordinate, or, given a label, all of them: no bijection."""

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        kept = torch.tensor([0.0, 1.0]).to(x) if condition is None else torch.zeros(2).to(x)
        return x * kept, x.new_zeros(len(x))

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        return z, z.new_zeros(len(z))


def test_a_bijection_has_none() -> None:
    found = collisions(FixedAffine((2,), shift=1.0, scale=(3.0, 0.5)), torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))
    assert (found.pairs, found.identical, found.count) == (3 + 3, 0, 0)
    assert abs(found.smallest_stretch - 0.5) < 1e-6


def test_pairs_that_share_a_latent_are_counted() -> None:
    x = torch.tensor([[0.0, 0.5], [1.0, 0.5], [1.0, 0.0]])
    found = collisions(Ignorant((2,)), x)
    # (0, 1) coincide; the neighbours differ in both coordinates.
    assert (found.pairs, found.identical, found.count, found.smallest_stretch) == (6, 1, 1, 0.0)


def test_latents_that_rounding_cannot_tell_apart_count_without_being_identical() -> None:
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    # The neighbours are 2**-7 off; at 2**17 the spacing of float32 is 2**-6, and every rounding goes to the nearest.
    found = collisions(FixedAffine((2,), shift=(0.0, 2.0**24), scale=1.0), x)
    assert (found.pairs, found.identical, found.count) == (3, 0, 3)
    assert collisions(FixedAffine((2,), shift=(0.0, 2.0**10), scale=1.0), x).count == 0


def test_equal_inputs_are_no_pair() -> None:
    found = collisions(Identity((2,)), torch.ones(4, 2))
    assert (found.pairs, found.count) == (4, 0)  # the neighbours


def test_examples_under_other_conditions_may_share_a_latent() -> None:
    x = torch.rand(4, 2)
    condition = Condition(label=torch.tensor([0, 1, 0, 2]))
    assert collisions(Ignorant((2,)), x, condition).identical == 1 + 4
    assert collisions(Ignorant((2,)), x, Condition(label=torch.tensor([5]))).identical == 6 + 4


def test_latents_that_are_not_numbers_collide() -> None:
    class Broken(Ignorant):
        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return x * torch.nan, x.new_zeros(len(x))

    assert collisions(Broken((2,)), torch.rand(2, 2)).count == 3


def test_nothing_is_drawn_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    x = torch.rand(3, 2, generator=torch.Generator().manual_seed(0))
    assert collisions(Ignorant((2,)), x) == collisions(Ignorant((2,)), x)
    assert torch.equal(state, torch.get_rng_state())
