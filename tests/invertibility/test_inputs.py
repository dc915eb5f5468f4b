"""Inputs far off the data, drawn and searched for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import AffineCoupling, Bijection, Chain, TractableBijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility import adversarial, far_off_inputs, gain, round_trip


class Spike(torch.nn.Module):
    """Log-scales that are large near one place only: (x - 0.9) beyond a width of 0.1 hardly scales."""

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat([0 * x, -12 * torch.exp(-((x - 0.9) ** 2) / 0.02)], 1)


def spiky() -> Bijection:
    return Chain(AffineCoupling((2,), Spike(), log_scale_bound=20.0), AffineCoupling((2,), Spike(), log_scale_bound=20.0, flip=True))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_families_without_reference() -> None:
    families = far_off_inputs((3, 8, 8), 200, seeded())
    assert {family.shape for family in families.values()} == {(200, 3, 8, 8)}
    assert abs(float(families["gaussian"].mean()) - 0.5) < 0.01
    assert abs(float(families["gaussian"].std()) - 0.5) < 0.01
    assert float(families["uniform"].min()) >= 0
    assert float(families["uniform"].max()) <= 1
    assert abs(float(families["uniform"].std()) - 12**-0.5) < 0.01
    assert set(families["saturated"].unique().tolist()) == {0.0, 1.0}
    assert bool((families["constant"] == families["constant"][:, :1, :1, :1]).all())
    assert families["constant"][[0, -1], 0, 0, 0].tolist() == [0.0, 1.0]


def test_families_follow_the_reference() -> None:
    reference = torch.full((4, 2), 3.0, dtype=torch.float64)
    reference[0, 0] = -1.0
    families = far_off_inputs((2,), 500, seeded(), reference=reference)
    assert {family.dtype for family in families.values()} == {torch.float64}
    assert set(families["saturated"].unique().tolist()) == {-1.0, 3.0}
    assert abs(float(families["gaussian"].mean()) - float(reference.mean())) < 0.2
    assert abs(float(families["gaussian"].std()) - 2.0) < 0.2
    assert float(families["uniform"].min()) < -0.8
    assert float(families["uniform"].max()) > 2.8


def test_families_are_a_function_of_the_generator() -> None:
    first, again, other = (far_off_inputs((4,), 3, seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["uniform"], other["uniform"])


def test_the_search_finds_what_sampling_does_not() -> None:
    g, x = spiky(), torch.full((4, 2), 0.55)
    found = adversarial(g, x, generator=seeded(), steps=25, restarts=1)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert float(gain(g, found).inverse.min()) > 100 * float(gain(g, x).inverse.max())
    assert round_trip(g, found).median > 5 * round_trip(g, x).maximum
    # The worst of as many uniform draws as points visited, per example.
    draws = torch.rand(50, 2, generator=seeded(3))
    assert float(gain(g, found).inverse.max()) > 2 * float(gain(g, draws).inverse.median())


def test_the_search_climbs_the_gradient() -> None:
    # Without restarts, from where the gain is still 1.2: only the gradient can lead to the spike.
    g, x = spiky(), torch.full((1, 2), 0.6)
    found = adversarial(g, x, generator=seeded(), steps=25, restarts=0)
    assert float(gain(g, found).inverse) > 1e3


def test_the_search_is_a_function_of_its_generator_and_stays_in_its_box() -> None:
    state = torch.get_rng_state()
    g, x = spiky(), torch.full((2, 2), -0.3)
    first, again = (adversarial(g, x, generator=seeded(5), steps=4, restarts=2, low=-0.5, high=0.25) for _ in range(2))
    assert torch.equal(first, again)
    assert float(first.min()) >= -0.5
    assert float(first.max()) <= 0.25
    assert torch.equal(state, torch.get_rng_state())


def test_examples_keep_their_conditions() -> None:
    class Chosen(TractableBijection):
        """Explodes above 0.5 under label 1, below it under label 0."""

        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return x * self._scale(condition), x.new_zeros(len(x))

        def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return z / self._scale(condition), z.new_zeros(len(z))

        def _scale(self, condition: Condition | None) -> Tensor:
            assert condition is not None
            return torch.where(condition["label"] == 1, 1e-3, 1.0)[:, None]

    found = adversarial(Chosen((2,)), torch.rand(3, 2), Condition(label=torch.tensor([1, 0, 1])), generator=seeded(), steps=3)
    assert found.shape == (3, 2)


def test_without_a_gradient_the_search_draws() -> None:
    class Opaque(TractableBijection):
        """Wrong by the first coordinate."""

        inverse_grad = "none"

        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return x, x.new_zeros(len(x))

        def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return z + z[:, :1], z.new_zeros(len(z))

    x = torch.full((3, 2), 0.25)
    found = adversarial(Opaque((2,)), x, generator=seeded(), steps=20, restarts=0)
    assert round_trip(Opaque((2,)), found).median > 0.8


def test_an_inverse_that_returns_no_number_is_the_worst() -> None:
    class Cliff(TractableBijection):
        def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return x, x.new_zeros(len(x))

        def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
            return (2 * z).masked_fill(z > 0.9, math.nan), z.new_zeros(len(z))

    found = adversarial(Cliff((1,)), torch.full((5, 1), 0.5), generator=seeded(), steps=10)
    assert round_trip(Cliff((1,)), found).nonfinite == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes_stay(dtype: torch.dtype) -> None:
    g = spiky().to(dtype)
    assert adversarial(g, torch.rand(2, 2, dtype=dtype), generator=seeded(), steps=2).dtype == dtype
