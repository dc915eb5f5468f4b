from __future__ import annotations

import pytest
import torch

from linearizer_core.bijections import ElementwiseAffine, FixedAffine
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError


def test_channelwise_parameters_are_one_per_channel() -> None:
    assert ElementwiseAffine((3, 4, 5), channelwise=True).log_scale.numel() == 3
    assert ElementwiseAffine((3, 4, 5)).log_scale.numel() == 60
    assert ElementwiseAffine((3, 4, 5), channelwise=True, categories=("label", 7)).log_scale.numel() == 21


def test_the_formula_per_category() -> None:
    affine = ElementwiseAffine((2,), categories=("label", 2)).double()
    with torch.no_grad():
        affine.shift.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        affine.log_scale.copy_(torch.tensor([[0.0, 0.0], [0.5, -0.25]]))
    z, logdet = affine.forward_and_logdet(torch.zeros(2, 2, dtype=torch.float64), Condition(label=torch.tensor([1, 0])))
    assert torch.allclose(z[0], torch.tensor([3.0, 4.0], dtype=torch.float64) * torch.tensor([0.5, -0.25], dtype=torch.float64).exp())
    assert torch.equal(z[1], torch.tensor([1.0, 2.0], dtype=torch.float64))
    assert torch.equal(logdet, torch.tensor([0.25, 0.0], dtype=torch.float64))


def test_fixed_affine_per_channel() -> None:
    affine = FixedAffine((2, 1, 2), shift=(1.0, -1.0), scale=(2.0, 0.5))
    assert affine(torch.zeros(1, 2, 1, 2)).flatten().tolist() == [2.0, 2.0, -0.5, -0.5]
    assert not list(affine.parameters())


@pytest.mark.parametrize("scale", [0.0, (1.0, 0.0), float("inf"), float("nan")])
def test_a_scale_without_inverse_is_refused(scale: float | tuple[float, ...]) -> None:
    with pytest.raises(BijectionError, match="nowhere zero"):
        FixedAffine((2,), shift=0.0, scale=scale)


def test_numbers_must_match_the_channels() -> None:
    with pytest.raises(BijectionError, match="shift has 3 numbers for 2 channels"):
        FixedAffine((2, 4, 4), shift=(1.0, 2.0, 3.0), scale=1.0)


def test_a_bounded_scale_stays_within_its_bound() -> None:
    affine = ElementwiseAffine((3,), log_scale_bound=0.5).double()
    with torch.no_grad():
        affine.log_scale.copy_(torch.tensor([[0.1, 1e6, -1e6]]))
    z = affine(torch.ones(1, 3, dtype=torch.float64))
    expected = 0.5 * torch.tanh(torch.tensor([[0.2, 2e6, -2e6]], dtype=torch.float64))
    assert torch.allclose(z.log(), expected, rtol=1e-12)
