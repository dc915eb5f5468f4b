from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from linearizer_core.bijections import MLPConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError


def test_the_output_starts_at_zero_and_learns() -> None:
    conditioner = MLPConditioner(3, 2, width=8)
    output = conditioner(torch.randn(4, 3))
    assert torch.equal(output, torch.zeros(4, 2))
    output.sum().backward()
    assert conditioner.last.weight.grad is not None
    assert conditioner.last.weight.grad.abs().max() > 0


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_formula(depth: int) -> None:
    conditioner = MLPConditioner(3, 2, width=8, depth=depth, categories={"label": 4}).double()
    torch.nn.init.normal_(conditioner.last.weight)
    x, label = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2])
    assert conditioner.embedding is not None
    h = silu(conditioner.first(x) + conditioner.embedding.tables["label"][label])
    for block in conditioner.blocks:
        h = h + silu(block(h))
    assert len(conditioner.blocks) == depth
    assert torch.allclose(conditioner(x, Condition(label=label)), conditioner.last(h), rtol=1e-13)


def test_a_missing_condition_is_named() -> None:
    with pytest.raises(ConditionError, match="the condition 'label'"):
        MLPConditioner(3, 2, width=8, categories={"label": 4})(torch.zeros(1, 3))


def at_the_steepest_point(layer: nn.Linear, image: Tensor) -> Tensor:
    """Set the bias so that SiLU has its largest slope at ``image``, and return what it gives there."""
    peak = torch.tensor(2.3994, dtype=torch.float64)
    with torch.no_grad():
        nn.init.constant_(layer.weight, 50.0)
        layer.bias.zero_()
        layer.bias.copy_(peak - layer(image)[0])
    return silu(peak)[None, None]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_lipschitz_constant_is_kept_and_reached(depth: int) -> None:
    conditioner = MLPConditioner(1, 1, width=1, depth=depth, categories={"label": 2}, lipschitz=1.7).double()
    x = torch.full((1, 1), 0.3, dtype=torch.float64)
    assert conditioner.embedding is not None
    torch.nn.init.zeros_(conditioner.embedding.tables["label"])
    h = at_the_steepest_point(conditioner.first, x)
    for block in conditioner.blocks:
        h = h + at_the_steepest_point(block, h)  # type: ignore[arg-type]
    nn.init.constant_(conditioner.last.weight, 50.0)
    condition = Condition(label=torch.tensor([1]))
    (slope,) = torch.autograd.functional.jacobian(lambda v: conditioner(v, condition), x).flatten()
    assert 0.99 ** (depth + 2) * 1.7 <= slope.item() + 1e-4
    assert slope.item() <= 1.7


def test_the_bound_leaves_the_start_and_the_names_alone() -> None:
    torch.manual_seed(0)
    plain = MLPConditioner(3, 2, width=8, depth=2, categories={"label": 4})
    torch.manual_seed(0)
    first = nn.Linear(3, 8)
    assert torch.equal(plain.first.weight, first.weight)
    bounded = MLPConditioner(3, 2, width=8, depth=2, categories={"label": 4}, lipschitz=1.0)
    assert bounded.state_dict().keys() == plain.state_dict().keys()
    assert torch.equal(bounded(torch.randn(4, 3), Condition(label=torch.tensor([1]))), torch.zeros(4, 2))
    assert type(plain.first) is type(plain.blocks[0]) is type(plain.last) is nn.Linear
