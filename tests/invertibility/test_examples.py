"""Batches of no example and of one, for every measure."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import linearizer_core.invertibility
from linearizer_core.bijections import Chain, FixedAffine, FixedOrthogonal
from linearizer_core.errors import InputShapeError
from linearizer_core.invertibility import (
    adversarial,
    collisions,
    far_off_inputs,
    gain,
    latent_round_trip,
    logdet_error,
    measure_layers,
    round_trip,
    worst_layer,
)

G = Chain(FixedOrthogonal((3,), seed=0), FixedAffine((3,), shift=0.5, scale=2.0)).double()


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MEASURES: dict[str, Callable[[Tensor], object]] = {
    "round_trip": lambda x: round_trip(G, x),
    "latent_round_trip": lambda x: latent_round_trip(G, x),
    "logdet_error": lambda x: logdet_error(G, x),
    "gain": lambda x: gain(G, x),
    "collisions": lambda x: collisions(G, x),
    "measure_layers": lambda x: measure_layers(G, x),
    "worst_layer": lambda x: worst_layer(G, x),
    "adversarial": lambda x: adversarial(G, x, generator=seeded()),
    "far_off_inputs": lambda x: far_off_inputs((3,), 2, seeded(), reference=x),
}


def test_every_measure_is_here() -> None:
    assert MEASURES.keys() == {name for name in linearizer_core.invertibility.__all__ if name[0].islower()}


@pytest.mark.parametrize("name", MEASURES)
def test_an_empty_batch_is_refused(name: str) -> None:
    shown = "measure_layers" if name == "worst_layer" else name
    with pytest.raises(InputShapeError, match=rf"^{shown}: a batch of shape \(0, 3\), expected at least one example; pass some"):
        MEASURES[name](torch.zeros(0, 3, dtype=torch.float64))


@pytest.mark.parametrize("name", MEASURES)
def test_an_empty_batch_of_images_is_refused(name: str) -> None:
    with pytest.raises(InputShapeError, match=r"\(0, 1, 3\), expected at least one example"):
        MEASURES[name](torch.zeros(0, 1, 3))


def test_one_example_is_enough() -> None:
    x = torch.rand(1, 3, dtype=torch.float64, generator=seeded())
    assert round_trip(G, x).maximum == round_trip(G, x).median < 1e-15
    assert latent_round_trip(G, x).examples == 1
    assert logdet_error(G, x).maximum == logdet_error(G, x).median < 1e-15
    torch.testing.assert_close(gain(G, x).forward, torch.full((1,), 2.0, dtype=torch.float64))
    torch.testing.assert_close(gain(G, x).inverse, torch.full((1,), 0.5, dtype=torch.float64))
    found = collisions(G, x)
    assert (found.pairs, found.count) == (1, 0)  # with its neighbour
    assert found.smallest_stretch == pytest.approx(2.0)
    assert [layer.path for layer in measure_layers(G, x)] == ["g.bijections[0]", "g.bijections[1]"]
    assert worst_layer(G, x, by="gain").path == "g.bijections[1]"
    assert adversarial(G, x, generator=seeded(), steps=2).shape == (1, 3)


def test_one_input_of_each_family() -> None:
    assert {family.shape for family in far_off_inputs((3,), 1, seeded(), reference=torch.rand(1, 3)).values()} == {(1, 3)}
