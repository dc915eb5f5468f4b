from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from linearizer_core.bijections import UNetConditioner
from linearizer_core.condition import Condition
from linearizer_core.errors import ConditionError


def test_the_output_starts_at_zero() -> None:
    conditioner = UNetConditioner(2, 3, width=4, categories={"label": 2})
    assert torch.equal(conditioner(torch.randn(1, 2, 4, 5), Condition(label=torch.tensor([1]))), torch.zeros(1, 3, 4, 5))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 3))
def test_any_size_will_do(height: int, width: int, depth: int) -> None:
    conditioner = UNetConditioner(2, 3, width=2, depth=depth)
    assert conditioner(torch.randn(2, 2, height, width)).shape == (2, 3, height, width)
    assert len(conditioner.halvings) == depth


def test_it_sees_the_whole_image_and_keeps_the_details() -> None:
    torch.manual_seed(0)
    conditioner = UNetConditioner(1, 1, width=8, depth=3).double()
    nn.init.normal_(conditioner.last.weight)
    x = torch.randn(1, 1, 17, 15, dtype=torch.float64)
    touched = x.clone()
    touched[..., 0, 0] += 1
    change = (conditioner(touched) - conditioner(x)).abs()[0, 0]
    assert bool((change > 0).all())
    assert change[:3, :3].mean() > 10 * change[-3:, -3:].mean()


def test_every_weight_is_used() -> None:
    conditioner = UNetConditioner(1, 2, width=4, depth=2, categories={"label": 2})
    nn.init.normal_(conditioner.last.weight)
    conditioner(torch.randn(2, 1, 5, 6), Condition(label=torch.tensor([0, 1]))).square().sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.abs().max() > 0) for parameter in conditioner.parameters())


def test_widths_double() -> None:
    conditioner = UNetConditioner(1, 2, width=4, depth=2)
    assert [block.first.out_channels for block in conditioner.down] == [4, 8, 16]


def test_nothing_depends_on_the_batch_or_the_mode() -> None:
    conditioner = UNetConditioner(1, 2, width=4).double()
    nn.init.normal_(conditioner.last.weight)
    x = torch.randn(3, 1, 5, 5, dtype=torch.float64)
    together = conditioner.train()(x)
    assert torch.equal(conditioner.eval()(x), together)
    assert torch.allclose(conditioner(x[1:2]), together[1:2], rtol=0, atol=1e-13)
    assert not list(conditioner.buffers())


def test_a_missing_condition_is_named() -> None:
    with pytest.raises(ConditionError, match="the condition 'label'"):
        UNetConditioner(1, 2, width=4, categories={"label": 4})(torch.zeros(1, 1, 2, 2))
