from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

from linearizer_core.bijections import ResNetConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError


def test_the_output_starts_at_zero() -> None:
    conditioner = ResNetConditioner(2, 3, width=4, categories={"label": 2})
    assert torch.equal(conditioner(torch.randn(1, 2, 4, 5), Condition(label=torch.tensor([1]))), torch.zeros(1, 3, 4, 5))


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_formula(depth: int) -> None:
    conditioner = ResNetConditioner(2, 3, width=4, depth=depth, categories={"label": 4}).double()
    torch.nn.init.normal_(conditioner.last.weight)
    x, label = torch.randn(5, 2, 3, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    assert conditioner.embedding is not None
    h = conditioner.first(x) + conditioner.embedding.tables["label"][label][:, :, None, None]
    for block in conditioner.blocks:
        h = h + block.second(silu(block.first(silu(h))))
    assert len(conditioner.blocks) == depth
    assert torch.allclose(conditioner(x, Condition(label=label)), conditioner.last(silu(h)), rtol=1e-13)


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_it_sees_its_neighbourhood(depth: int) -> None:
    torch.manual_seed(0)
    conditioner = ResNetConditioner(1, 2, width=8, depth=depth)
    torch.nn.init.normal_(conditioner.last.weight)
    x = torch.zeros(1, 1, 9, 9)
    touched = x.clone()
    touched[..., 0, 0] = 1
    reached = (conditioner(touched) - conditioner(x)).abs().sum((0, 1)) > 0
    radius = 2 * depth + 2
    assert bool(reached[: radius + 1, : radius + 1].all())
    assert not bool(reached[radius + 1 :].any() | reached[:, radius + 1 :].any())


def test_a_missing_condition_is_named() -> None:
    with pytest.raises(ConditionError, match="the condition 'label'"):
        ResNetConditioner(1, 2, width=8, categories={"label": 4})(torch.zeros(1, 1, 2, 2))
