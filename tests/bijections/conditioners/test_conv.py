from __future__ import annotations

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import ConvConditioner
from linearizer_core.condition import Condition


def test_the_output_starts_at_zero() -> None:
    conditioner = ConvConditioner(2, 3, width=4, token_mixing=(4, 5), categories={"label": 2})
    assert torch.equal(conditioner(torch.randn(1, 2, 4, 5), Condition(label=torch.tensor([1]))), torch.zeros(1, 3, 4, 5))


def reached_by_the_corner(conditioner: ConvConditioner) -> Tensor:
    """The positions (H, W) whose output changes when the upper left input pixel does."""
    torch.nn.init.normal_(conditioner.last.weight)
    x = torch.zeros(1, 1, 9, 7)
    touched = x.clone()
    touched[..., 0, 0] = 1
    return (conditioner(touched) - conditioner(x)).abs().sum((0, 1)) > 0


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_convolutions_see_their_neighbourhood(depth: int) -> None:
    reached = reached_by_the_corner(ConvConditioner(1, 2, width=8, depth=depth))
    radius = depth + 2
    assert bool(reached[: radius + 1, : radius + 1].all())
    assert not bool(reached[radius + 1 :].any() | reached[:, radius + 1 :].any())


def test_token_mixing_sees_everything() -> None:
    assert bool(reached_by_the_corner(ConvConditioner(1, 2, width=8, token_mixing=(9, 7))).all())


def test_the_condition_is_used() -> None:
    conditioner = ConvConditioner(1, 2, width=8, categories={"label": 2})
    torch.nn.init.normal_(conditioner.last.weight)
    outputs = conditioner(torch.zeros(2, 1, 3, 3), Condition(label=torch.tensor([0, 1])))
    assert (outputs[0] - outputs[1]).abs().max() > 0.1
