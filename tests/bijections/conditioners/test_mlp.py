from __future__ import annotations

import pytest
import torch
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
    with pytest.raises(ConditionError, match="conditioned on 'label'"):
        MLPConditioner(3, 2, width=8, categories={"label": 4})(torch.zeros(1, 3))
