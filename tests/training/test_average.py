"""The average against its closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from linearizer_core.training import WeightAverage, averaging_decay


def test_average_is_the_weighted_sum_of_all_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    parameter = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    average = WeightAverage({"weight": parameter}, ema=0.8, warmup=5)
    for step, value in enumerate(values):
        parameter.data.copy_(value)
        average.update(step)
    decays = [averaging_decay(0.8, 5, step) for step in range(30)]
    weights = torch.tensor([(1 - decays[k]) * math.prod(decays[k + 1 :]) for k in range(30)], dtype=torch.float64)
    assert float(weights.sum()) == pytest.approx(1.0, abs=1e-12)
    torch.testing.assert_close(average.tensors()["weight"], weights @ values, rtol=1e-12, atol=1e-12)


def test_applied_restores_the_bits_even_after_an_error() -> None:
    parameter = nn.Parameter(torch.tensor([0.1, 0.2]))
    average = WeightAverage({"weight": parameter}, ema=0.5, warmup=50)
    before = parameter.detach().clone()
    average.load({"weight": torch.tensor([7.0, 8.0])})

    def fail() -> None:
        with average.applied():
            assert parameter.tolist() == [7.0, 8.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(parameter, before)
    average.copy_to_parameters()
    assert parameter.tolist() == [7.0, 8.0]
