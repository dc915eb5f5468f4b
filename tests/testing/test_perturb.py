"""Moving a module away from its start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from linearizer_core.bijections import ActNorm
from linearizer_core.testing.perturb import fresh, moved, perturb


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (torch.zeros(400, 100), 0.02),
        (torch.full((400, 100), 3.0), 0.6),
        (torch.zeros(4000), 0.2),
        (torch.full((4000,), 1e-6), 0.2),
        (torch.zeros(300, 10, 3, 3), 0.2 / 90**0.5),
    ],
)
def test_every_parameter_moves_on_its_own_scale(start: torch.Tensor, expected: float) -> None:
    torch.manual_seed(0)
    module = nn.ParameterList([nn.Parameter(start.clone())])
    perturb(module)
    assert float((module[0] - start).detach().std()) == pytest.approx(expected, rel=0.1)


def test_what_is_not_trained_stays() -> None:
    module = nn.Linear(3, 3)
    module.weight.requires_grad_(False)
    module.register_buffer("statistics", torch.ones(3))
    before = module.weight.clone()
    perturb(module)
    assert torch.equal(module.weight, before)
    assert torch.equal(module.get_buffer("statistics"), torch.ones(3))


def test_a_layer_that_is_set_from_data_sees_data_first() -> None:
    norm = moved(lambda: ActNorm((3,)), lambda norm: norm(5 * torch.randn(50, 3, dtype=torch.float64)))
    assert bool(norm.get_buffer("initialized"))
    assert not norm.training
    assert norm.log_scale.dtype == torch.float64
    assert norm.log_scale.mean().item() < -1


def test_seeds_decide() -> None:
    first, second, other = (fresh(lambda: nn.Linear(3, 3), seed=seed).weight for seed in (0, 0, 1))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
