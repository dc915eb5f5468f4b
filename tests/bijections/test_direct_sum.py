from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, DirectSum, FixedAffine, Flatten, Identity
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError


class Opaque(Bijection):
    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return -x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return -z


def test_each_part_sees_its_own_coordinates() -> None:
    both = DirectSum(FixedAffine((2,), shift=0.0, scale=2.0), FixedAffine((1,), shift=1.0, scale=3.0))
    z, logdet = both.forward_and_logdet(torch.tensor([[1.0, 2.0, 3.0]]))
    assert z.tolist() == [[2.0, 4.0, 12.0]]
    assert logdet.item() == pytest.approx(math.log(12), abs=1e-5)


def test_parts_must_be_flat() -> None:
    with pytest.raises(BijectionError, match=r"Flatten maps \(1, 2, 2\) to \(4,\), expected flat"):
        DirectSum(Identity((2,)), Flatten((1, 2, 2)))


@pytest.mark.parametrize("opaque_first", [True, False])
def test_without_log_determinant_it_still_maps_and_names_the_culprit(opaque_first: bool) -> None:
    parts = (Opaque((2,)), Identity((2,)))
    both = DirectSum(*parts) if opaque_first else DirectSum(*reversed(parts))
    x = torch.randn(2, 4)
    assert torch.equal(both.inverse(both(x)), x)
    for call in (both.forward_and_logdet, both.inverse_and_logdet):
        with pytest.raises(LogDetUnavailableError, match="DirectSum: Opaque"):
            call(x)
