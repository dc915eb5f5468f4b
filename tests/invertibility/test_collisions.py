"""Pairs of inputs whose latents coincide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from linearizer_core.bijections import FixedAffine, Identity, TractableBijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility import Collisions, collisions
from linearizer_core.invertibility.collisions import Points, compare_pairs


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


def test_neighbours_are_one_grey_level_off() -> None:
    class Listening(Ignorant):
        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            heard.append(x)
            return super().forward_and_logdet(x, condition)

    heard: list[Tensor] = []
    collisions(Listening((2,)), torch.tensor([[0.0, 0.5], [2.0, 1.0]]))
    assert torch.equal((heard[1] - heard[0]).abs(), torch.full((2, 2), 2 / 256))


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


# --- in blocks ------------------------------------------------------------------------------------------


def plain(points: Points, groups: Tensor) -> Collisions:
    """Pair by pair."""
    pairs = identical = count = 0
    stretches = [torch.tensor(torch.inf, dtype=torch.float64)]
    for row in range(len(groups)):
        for column in range(row + 1, len(groups)):
            apart, latent_apart = ((each[row].double() - each[column].double()).norm() for each in (points.data, points.latents))
            if apart > 0 and torch.equal(groups[row], groups[column]):
                size = max(points.latents[row].double().norm(), points.latents[column].double().norm())
                pairs += 1
                identical += torch.equal(points.latents[row], points.latents[column])
                count += not bool(latent_apart > torch.finfo(points.data.dtype).eps * size)
                stretches.append(latent_apart / apart)
    return Collisions(pairs, identical, count, float(torch.stack(stretches).min()))


def crowded(kind: str) -> Points:
    """23 points of which many share data, latents, or nearly so."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randint(0, 2, (23, 4), generator=generator).float()
    latents = data @ torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.0, 2.0**-30]])
    if kind == "not numbers":
        latents[7] = torch.nan
    return Points(data.double(), latents.double()) if kind == "float64" else Points(data, latents)


@pytest.mark.parametrize("side", [1, 2, 5, 22, 23, 100])
@pytest.mark.parametrize("kind", ["float32", "float64", "not numbers"])
@pytest.mark.parametrize("categories", [0, 1, 3])
def test_blocks_of_any_size_find_what_pairs_find(side: int, kind: str, categories: int) -> None:
    points = crowded(kind)
    groups = torch.randint(0, max(categories, 1), (23, min(categories, 2)), generator=torch.Generator().manual_seed(1))
    found, expected = compare_pairs(points, groups, side=side), plain(points, groups)
    assert (found.pairs, found.identical, found.count) == (expected.pairs, expected.identical, expected.count)
    assert found.smallest_stretch == pytest.approx(expected.smallest_stretch, rel=1e-14, nan_ok=True)
    assert 0 < expected.pairs < 23 * 22 / 2
    assert expected.count >= expected.identical > 0


def test_the_crowd_holds_every_case() -> None:
    counts = {kind: plain(crowded(kind), torch.zeros(23, 0)) for kind in ("float32", "float64", "not numbers")}
    assert counts["float32"].count > counts["float32"].identical == counts["float64"].count
    assert counts["not numbers"].count > counts["float32"].count


@pytest.mark.parametrize("label", [torch.tensor([0, 1, 0, 2, 1, 0]), torch.tensor([3])])
@pytest.mark.parametrize("style", [torch.tensor([[0.5, 1.0]] * 3 + [[0.5, 2.0]] * 3), torch.tensor([[0.5, 1.0]])])
def test_pairs_agree_in_every_condition(label: Tensor, style: Tensor) -> None:
    x = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    rows = [(int(label.expand(6)[row]), *style.expand(6, 2)[row].tolist()) for row in range(6)]
    alike = sum(rows[row] == rows[column] for row in range(6) for column in range(row))
    assert collisions(Ignorant((2,)), x, Condition(label=label, style=style)).pairs == alike + 6


def test_memory_does_not_grow_with_the_number_of_pairs() -> None:
    class Largest(TorchDispatchMode):
        """Notes the most elements of any result."""

        elements = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor):
                Largest.elements = max(Largest.elements, result.numel())
            return result

    x = torch.rand(400, 256, generator=torch.Generator().manual_seed(0))
    with Largest():
        found = collisions(Identity((256,)), x)
    assert (found.pairs, found.count) == (400 * 399 // 2 + 400, 0)
    assert Largest.elements <= 2**22  # all pairs at once: 2 ** 24.3
