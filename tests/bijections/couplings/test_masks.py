from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.bijections import AdditiveCoupling, AffineCoupling, ConvConditioner, MaskName, coupling_sizes
from linearizer_core.bijections.couplings.masks import make_mask
from linearizer_core.errors import BijectionError

MASKS: tuple[MaskName, ...] = ("halves", "alternating", "checkerboard")


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(MASKS), st.booleans(), st.integers(2, 5), st.integers(1, 5), st.integers(2, 5))
def test_what_is_split_joins_to_the_same_bits(name: MaskName, flip: bool, channels: int, height: int, width: int) -> None:
    mask = make_mask(name, (channels, height, width), split=None, flip=flip)
    x = torch.randn(3, channels, height, width)
    kept, changed = mask.split(x)
    assert (kept.shape[1], changed.shape[1]) == (mask.kept, mask.changed) == coupling_sizes(channels, flip=flip, mask=name)
    assert torch.equal(mask.join(kept, changed), x)
    moved = mask.join(kept, changed + 10) != x
    assert int(moved.sum()) == changed.numel()
    flipped = make_mask(name, (channels, height, width), split=None, flip=not flip)
    assert flipped.split(x)[1].numel() + changed.numel() == x.numel()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("halves", [[[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]], [[1, 1, 1], [1, 1, 1]]]),
        ("alternating", [[[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]], [[0, 0, 0], [0, 0, 0]]]),
        ("checkerboard", [[[0, 1, 0], [1, 0, 1]]] * 3),
    ],
)
def test_which_elements_change(name: MaskName, expected: list[list[list[int]]]) -> None:
    x = torch.zeros(1, 3, 2, 3)
    for flip in (False, True):
        mask = make_mask(name, (3, 2, 3), split=None, flip=flip)
        kept, changed = mask.split(x)
        assert torch.equal(mask.join(kept, changed + 1)[0] == 1, (torch.tensor(expected) == 1) != flip)


def test_the_kept_part_of_a_checkerboard_is_an_image_with_holes() -> None:
    x = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    kept, changed = make_mask("checkerboard", (1, 2, 3), split=None, flip=False).split(x)
    assert kept.tolist() == [[[[1, 0, 3], [0, 5, 0]]]]
    assert changed.tolist() == [[[2, 4, 6]]]


def test_holes_are_zero_whatever_was_there() -> None:
    x = torch.tensor([[[[1.0, torch.inf, 2.0, torch.nan]]]])
    assert make_mask("checkerboard", (1, 1, 4), split=None, flip=False).split(x)[0].tolist() == [[[[1, 0, 2, 0]]]]


@pytest.mark.parametrize("shape", [(1, 3, 3), (2, 5, 4), (1, 1, 2)])
@pytest.mark.parametrize("flip", [False, True])
def test_a_checkerboard_coupling_has_the_log_determinant_of_the_changed_positions(shape: tuple[int, int, int], flip: bool) -> None:
    torch.manual_seed(0)
    conditioner = ConvConditioner(shape[0], 2 * shape[0], width=8)
    coupling = AffineCoupling(shape, conditioner, flip=flip, mask="checkerboard").double()
    for parameter in coupling.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, *shape, dtype=torch.float64)
    z, logdet = coupling.forward_and_logdet(x)
    changed = (torch.arange(shape[1])[:, None] + torch.arange(shape[2])) % 2 == int(not flip)
    assert torch.equal(z != x, changed.expand(z.shape))
    assert (coupling.inverse(z) - x).abs().max() < 1e-14
    jacobian = torch.autograd.functional.jacobian(lambda v: coupling(v), x[:1]).reshape(coupling.dim, coupling.dim)
    assert float(torch.linalg.slogdet(jacobian).logabsdet) == pytest.approx(float(logdet[0].detach()), abs=1e-12)


@pytest.mark.parametrize("name", MASKS)
def test_masks_add_nothing_to_the_state(name: MaskName) -> None:
    coupling = AdditiveCoupling((2, 4, 4), torch.nn.Identity(), mask=name)
    assert coupling.state_dict() == {}


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BijectionError, match=r"split = 2 is given with mask = 'alternating'.*leave it out"):
        coupling_sizes(4, split=2, mask="alternating")
    with pytest.raises(BijectionError, match=r"1 channels split at 0.*squeeze first"):
        coupling_sizes(1, mask="alternating")
    for shape in [(6,), (3, 1, 1)]:
        with pytest.raises(BijectionError, match=r"'checkerboard' on shape .* expected \(C, H, W\) with at least 2 positions"):
            make_mask("checkerboard", shape, split=None, flip=False)
