"""A map that is injective without being onto: what it may do, and who refuses it."""

from __future__ import annotations

import pytest
import torch

from linearizer_core.bijections import AdditiveCoupling, Chain, ConvConditioner, FixedOrthogonal, Flatten, Identity, Inverse, ZeroPadding
from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.errors import BijectionError, InputShapeError, LogDetUnavailableError, SurjectivityError
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator, ScaledIdentity
from linearizer_core.space import InducedSpace


class IdentityCore(CoreOperator):
    def operator(self, condition: Condition | None = None) -> LinearOperator:
        return ScaledIdentity(1.0, self.shape[0])


def padded_chain() -> Chain:
    torch.manual_seed(0)
    conditioner = ConvConditioner(2, 2, width=6)
    torch.nn.init.normal_(conditioner.last.weight)
    shape = (4, 2, 3)
    return Chain(ZeroPadding((3, 2, 3), channels=1), AdditiveCoupling(shape, conditioner), Flatten(shape), FixedOrthogonal((24,), seed=0)).double()


@pytest.mark.parametrize("shape", [(3,), (2, 4), (3, 2, 4)])
def test_zeros_follow_the_channels(shape: tuple[int, ...]) -> None:
    padding = ZeroPadding(shape, channels=2)
    x = torch.randn(4, *shape)
    z = padding(x)
    assert padding.out_shape == (shape[0] + 2, *shape[1:]) == tuple(z.shape[1:])
    assert torch.equal(z[:, : shape[0]], x)
    assert not bool(z[:, shape[0] :].any())
    assert torch.equal(padding.inverse(z), x)
    assert padding.dim == torch.Size(shape).numel()


def test_the_inverse_is_a_left_inverse_and_no_more() -> None:
    g = padded_chain()
    assert (g.in_shape, g.out_shape, g.surjective) == ((3, 2, 3), (24,), False)
    x, z = torch.randn(2, 3, 2, 3, dtype=torch.float64), torch.randn(2, 24, dtype=torch.float64)
    assert float((g.inverse(g(x)) - x).detach().abs().max()) < 1e-13
    assert float((g(g.inverse(z)) - z).detach().abs().max()) > 0.1
    # On its image it is one: the second round changes nothing.
    assert float((g(g.inverse(g(x))) - g(x)).detach().abs().max()) < 1e-13


def test_sums_of_latents_leave_the_image() -> None:
    g = padded_chain()
    u, v = (torch.randn(2, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    total = (g(u) + g(v)).detach()
    assert float((g(g.inverse(total)) - total).detach().abs().max()) > 0.01


def test_it_keeps_bits_and_gradients_and_has_no_volume() -> None:
    padding = ZeroPadding((3,), channels=1)
    assert padding.bit_exact
    assert not padding.has_logdet
    assert Chain(padding, Identity((4,))).bit_exact
    assert not padded_chain().has_logdet
    for call, size in ((padding.forward_and_logdet, 3), (padding.inverse_and_logdet, 4)):
        with pytest.raises(LogDetUnavailableError, match="ZeroPadding"):
            call(torch.zeros(1, size))
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(padding, (x,))
    assert torch.autograd.gradcheck(padding.inverse, (torch.randn(2, 4, dtype=torch.float64, requires_grad=True),))


def test_spaces_linearizers_and_models_refuse_it() -> None:
    g = padded_chain()
    onto = Identity((18,))
    message = r"Chain on \(3, 2, 3\) has surjective = False: it reaches only part.*would not be linear; leave the padding out"
    with pytest.raises(SurjectivityError, match=message):
        InducedSpace(g)
    with pytest.raises(SurjectivityError, match=message):
        Linearizer(onto, ScaledIdentity(1.0, 18), g)
    for gx, gy in ((g, None), (g, onto), (onto, g)):
        with pytest.raises(SurjectivityError, match=message):
            LinearizerModel(gx, IdentityCore((18, 18)), gy)


def test_it_cannot_be_turned_round() -> None:
    with pytest.raises(SurjectivityError, match="Inverse of ZeroPadding"):
        Inverse(ZeroPadding((3,), channels=1))


def test_nothing_to_add_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(BijectionError, match="0 channels to add, expected at least 1"):
        ZeroPadding((3,), channels=0)
    padding = ZeroPadding((3, 2, 2), channels=1)
    with pytest.raises(InputShapeError, match=r"expected \(B, 3, 2, 2\)"):
        padding(torch.zeros(1, 4, 2, 2))
    with pytest.raises(InputShapeError, match=r"expected \(B, 4, 2, 2\)"):
        padding.inverse(torch.zeros(1, 3, 2, 2))
