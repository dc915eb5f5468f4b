from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from linearizer_core.bijections import (
    AffineCoupling,
    Bijection,
    Chain,
    ConvConditioner,
    ElementwiseAffine,
    FixedAffine,
    Flatten,
    Identity,
    Permutation,
    PixelSqueeze,
    SplitMerge,
    ZeroPadding,
)
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, InputShapeError, LogDetUnavailableError


class Opaque(Bijection):
    inverse_kind = "iterative"
    inverse_grad = "implicit"

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return -x

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return -z


def scaling(shape: tuple[int, ...], factor: float) -> FixedAffine:
    return FixedAffine(shape, shift=0.0, scale=factor)


def test_each_part_sees_its_own_channels() -> None:
    both = SplitMerge(scaling((1, 1, 2), 2.0), scaling((2, 1, 2), 3.0))
    x = torch.arange(6.0).reshape(1, 3, 1, 2)
    z, logdet = both.forward_and_logdet(x)
    assert z.tolist() == [[0, 2, 6, 9, 12, 15]]
    assert logdet.item() == pytest.approx(2 * math.log(2) + 4 * math.log(3), abs=1e-5)
    back, inverse_logdet = both.inverse_and_logdet(z)
    assert torch.allclose(back, x)
    assert inverse_logdet.item() == pytest.approx(-logdet.item())


def test_nested_levels_put_the_coarsest_first() -> None:
    coarse = Chain(PixelSqueeze((1, 2, 2)), Flatten((4, 1, 1)))
    g = Chain(PixelSqueeze((1, 4, 4)), SplitMerge(coarse, Identity((3, 2, 2))))
    assert g.out_shape == (16,)
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    # The upper left pixels of all 2x2 squares go on to the second level; the other three corners leave.
    assert g(x)[0, :4].tolist() == [0, 2, 8, 10]
    assert g(x)[0, 4:8].tolist() == [1, 3, 9, 11]
    assert torch.equal(g.inverse(g(x)), x)
    assert g.bit_exact


def test_capabilities_are_those_of_the_weaker_part() -> None:
    def capabilities(leading: Bijection, trailing: Bijection) -> tuple[str, str, bool, bool]:
        both = SplitMerge(leading, trailing)
        return both.inverse_kind, both.inverse_grad, both.has_logdet, both.bit_exact

    assert capabilities(Identity((2,)), Permutation((2,), seed=0)) == ("analytic", "exact", True, True)
    assert capabilities(scaling((2,), 2.0), Identity((2,))) == ("analytic", "exact", True, False)
    assert capabilities(Identity((2,)), Opaque((2,))) == ("iterative", "implicit", False, False)


def test_conditions_reach_both_parts_and_must_agree() -> None:
    leading = AffineCoupling((2, 2, 2), ConvConditioner(1, 2, width=4, categories={"label": 3}), conditions={"label": 3})
    both = SplitMerge(leading, ElementwiseAffine((1, 2, 2), categories=("style", 2)))
    assert both.conditions == {"label": 3, "style": 2}
    torch.nn.init.normal_(leading.conditioner.last.weight)
    torch.nn.init.normal_(both.trailing.get_parameter("shift"))
    x = torch.randn(1, 3, 2, 2)

    def latent(label: int, style: int) -> Tensor:
        return both(x, Condition(label=torch.tensor([label]), style=torch.tensor([style]))).detach()

    changed = (latent(0, 0) != latent(1, 0)).flatten()
    assert bool(changed[4:8].all())
    assert not bool(changed[8:].any())
    assert bool((latent(0, 0) != latent(0, 1)).flatten()[8:].all())
    with pytest.raises(BijectionError, match="'label' has 3 categories in one part and 4"):
        SplitMerge(leading, ElementwiseAffine((1, 2, 2), categories=("label", 4)))


def test_a_part_that_is_not_onto_makes_the_whole_so() -> None:
    both = SplitMerge(ZeroPadding((1, 2), channels=2), Identity((3, 2)))
    assert (both.in_shape, both.out_shape, both.surjective, both.has_logdet) == ((4, 2), (12,), False, False)
    x = torch.randn(2, 4, 2)
    assert torch.equal(both.inverse(both(x)), x)


def test_parts_must_fit_side_by_side() -> None:
    with pytest.raises(BijectionError, match=r"Identity takes \(1, 2, 2\), Flatten takes \(1, 2, 3\); expected"):
        SplitMerge(Identity((1, 2, 2)), Flatten((1, 2, 3)))


@pytest.mark.parametrize("opaque_first", [True, False])
def test_without_log_determinant_it_still_maps_and_names_the_culprit(opaque_first: bool) -> None:
    parts = (Opaque((1, 2)), Identity((1, 2)))
    both = SplitMerge(*parts) if opaque_first else SplitMerge(*reversed(parts))
    x = torch.randn(2, 2, 2)
    assert torch.equal(both.inverse(both(x)), x)
    for call, value in ((both.forward_and_logdet, x), (both.inverse_and_logdet, both(x))):
        with pytest.raises(LogDetUnavailableError, match="SplitMerge: Opaque"):
            call(value)


def test_wrong_shapes_are_refused() -> None:
    both = SplitMerge(Identity((1, 2, 2)), Identity((1, 2, 2)))
    with pytest.raises(InputShapeError, match=r"expected \(B, 2, 2, 2\)"):
        both(torch.zeros(1, 3, 2, 2))
    with pytest.raises(InputShapeError, match=r"expected \(B, 8\)"):
        both.inverse(torch.zeros(1, 9))
