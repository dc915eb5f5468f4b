from __future__ import annotations

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import Bijection, Chain, ElementwiseAffine, FixedAffine, Flatten, Identity, Permutation, SplitMerge
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError


class Opaque(Bijection):
    """The identity that can neither tell its determinant nor differentiate its inverse exactly."""

    inverse_kind = "sequential"
    inverse_grad = "implicit"

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return z


class Hopeless(Opaque):
    inverse_kind = "iterative"
    inverse_grad = "none"


def test_members_apply_in_order_and_undo_in_reverse() -> None:
    chain = Chain(FixedAffine((1,), shift=1.0, scale=1.0), FixedAffine((1,), shift=0.0, scale=10.0))
    z, logdet = chain.forward_and_logdet(torch.tensor([[2.0]]))
    assert z.item() == 30.0
    assert logdet.item() == pytest.approx(2.302585, abs=1e-6)
    assert chain.inverse(torch.tensor([[30.0]])).item() == pytest.approx(2.0)


def test_a_chain_is_a_sequence() -> None:
    members = [Identity((2,)), Permutation((2,), seed=0), Identity((2,))]
    chain = Chain(*members)
    assert len(chain) == 3
    assert list(chain) == members
    assert chain[1] is members[1]
    assert chain[-1] is members[2]


def test_errors_name_the_position() -> None:
    with pytest.raises(BijectionError, match="at least 1"):
        Chain()
    with pytest.raises(BijectionError, match=r"position 1 \(Identity\) gives \(1, 2, 2\), position 2 \(Permutation\) takes \(4,\)"):
        Chain(Identity((1, 2, 2)), Identity((1, 2, 2)), Permutation((4,), seed=0))


def test_conditions_merge_and_must_agree() -> None:
    chain = Chain(ElementwiseAffine((2,), categories=("label", 3)), Identity((2,)), ElementwiseAffine((2,), categories=("style", 4)))
    assert chain.conditions == {"label": 3, "style": 4}
    with pytest.raises(BijectionError, match=r"'label' has 3 categories in one part and 4 in ElementwiseAffine"):
        Chain(ElementwiseAffine((2,), categories=("label", 3)), ElementwiseAffine((2,), categories=("label", 4)))


@pytest.mark.parametrize("combine", [Chain, SplitMerge])
def test_capabilities_are_those_of_the_weakest_member(combine: type[Chain] | type[SplitMerge]) -> None:
    def capabilities(first: Bijection, second: Bijection) -> tuple[str, str, bool, bool]:
        whole = combine(first, second)
        return whole.inverse_kind, whole.inverse_grad, whole.has_logdet, whole.bit_exact

    assert capabilities(Identity((2,)), Permutation((2,), seed=0)) == ("analytic", "exact", True, True)
    assert capabilities(Identity((2,)), FixedAffine((2,), shift=0.0, scale=2.0)) == ("analytic", "exact", True, False)
    assert capabilities(Opaque((2,)), Identity((2,))) == ("sequential", "implicit", False, False)
    assert capabilities(Opaque((2,)), Hopeless((2,))) == ("iterative", "none", False, False)
    assert not Chain.bit_exact  # the class itself promises nothing


def test_a_chain_without_log_determinant_still_maps_and_names_the_culprit() -> None:
    chain = Chain(Flatten((1, 2, 2)), Opaque((4,)))
    x = torch.randn(3, 1, 2, 2)
    assert torch.equal(chain.inverse(chain(x)), x)
    for call, value in ((chain.forward_and_logdet, x), (chain.inverse_and_logdet, chain(x))):
        with pytest.raises(LogDetUnavailableError, match=r"position 1 \(Opaque\)"):
            call(value)
