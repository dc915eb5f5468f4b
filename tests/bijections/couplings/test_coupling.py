from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from linearizer_core.bijections import AdditiveCoupling, AffineCoupling, MLPConditioner, coupling_sizes
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


class Constant(nn.Module):
    """A conditioner that always gives the same numbers and remembers the dtype of a matrix product inside it."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = values
        self.product_dtype: torch.dtype | None = None

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.product_dtype = (x @ x.T).dtype
        return torch.tensor(self.values, dtype=x.dtype).expand(len(x), -1)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 50), st.booleans(), st.data())
def test_sizes_add_up_and_flip_exchanges_them(channels: int, flip: bool, data: st.DataObject) -> None:
    split = data.draw(st.none() | st.integers(1, channels - 1))
    kept, changed = coupling_sizes(channels, split=split, flip=flip)
    assert kept + changed == channels
    assert (changed, kept) == coupling_sizes(channels, split=split, flip=not flip)
    assert (changed if flip else kept) == (channels // 2 if split is None else split)


def test_a_part_without_channels_is_refused() -> None:
    with pytest.raises(BijectionError, match=r"1 channels split at 0.*squeeze first"):
        coupling_sizes(1)
    with pytest.raises(BijectionError, match="choose split from 1 to 3"):
        AdditiveCoupling((4,), Constant(0.0), split=4)


def test_the_formula_of_an_affine_coupling() -> None:
    coupling = AffineCoupling((3,), Constant(1.0, 2.0, 0.3, -5.0), log_scale_bound=0.5)
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    s = 0.5 * torch.tanh(torch.tensor([0.3, -5.0], dtype=torch.float64) / 0.5)
    z, logdet = coupling.forward_and_logdet(x)
    assert torch.allclose(z, torch.cat([x[:, :1], x[:, 1:] * s.exp() + torch.tensor([1.0, 2.0])], 1), rtol=1e-14)
    assert torch.allclose(logdet, s.sum(), rtol=1e-14)


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_log_scales_stay_within_the_bound(bound: float) -> None:
    coupling = AffineCoupling((2,), Constant(0.0, 1e4), log_scale_bound=bound)
    assert coupling.forward_and_logdet(torch.ones(1, 2))[1].item() == pytest.approx(bound)


@settings(deadline=None, max_examples=30)
@given(raw=st.floats(-1e6, 1e6), bound=st.sampled_from([0.1, 1.0, 5.0]), kind=st.sampled_from(["affine", "additive"]))
def test_shifts_stay_within_their_bound(raw: float, bound: float, kind: str) -> None:
    conditioner = Constant(raw, 0.0) if kind == "affine" else Constant(raw)
    coupling = (AffineCoupling if kind == "affine" else AdditiveCoupling)((2,), conditioner, shift_bound=bound)
    x = torch.zeros(1, 2, dtype=torch.float64)
    moved = coupling(x)[0, 1].item()
    assert moved == pytest.approx(bound * math.tanh(raw / bound), abs=1e-12)
    assert abs(moved) <= bound
    assert torch.equal(coupling.inverse(coupling(x)), x)


@pytest.mark.parametrize("flip", [False, True])
def test_the_kept_part_keeps_its_bits(flip: bool) -> None:
    coupling = AdditiveCoupling((5,), Constant(*[3.0] * (2 if flip else 3)), flip=flip)
    x = torch.randn(4, 5)
    kept, changed = (slice(2, 5), slice(0, 2)) if flip else (slice(0, 2), slice(2, 5))
    assert torch.equal(coupling(x)[:, kept], x[:, kept])
    assert torch.equal(coupling(x)[:, changed], x[:, changed] + 3)


def test_only_the_conditioner_runs_under_autocast() -> None:
    conditioner = Constant(0.1, 0.7)
    coupling = AffineCoupling((2,), conditioner)
    x = torch.tensor([[1.0, 1.0 + 2**-20]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z = coupling(x)
        assert conditioner.product_dtype == torch.bfloat16
        assert z.dtype == torch.float32
    assert torch.equal(z, coupling(x))
    assert conditioner.product_dtype == torch.float32


def test_a_conditioner_of_the_wrong_size_is_named() -> None:
    coupling = AffineCoupling((5,), MLPConditioner(2, 3, width=4))
    with pytest.raises(BijectionError, match="gave 3 output channels, expected 6"):
        coupling(torch.zeros(1, 5))
