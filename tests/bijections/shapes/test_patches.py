from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from linearizer_core.bijections import PatchSqueeze, PixelSqueeze
from linearizer_core.errors import BijectionError

sizes = st.integers(1, 4)


@settings(deadline=None, max_examples=25)
@given(sizes, sizes, sizes, sizes, sizes)
def test_a_position_holds_the_pixels_of_its_patch(channels: int, height: int, width: int, rows: int, columns: int) -> None:
    shape = (channels, height * rows, width * columns)
    squeeze = PatchSqueeze(shape, patch=(rows, columns))
    x = torch.randn(2, *shape)
    z = squeeze(x)
    assert z.shape == (2, rows * columns * channels, height, width)
    last = x[:, :, -rows:, -columns:].permute(0, 2, 3, 1).flatten(1)
    assert torch.equal(z[:, :, -1, -1], last)
    assert torch.equal(squeeze.inverse(z), x)


def test_two_by_two_is_the_pixel_squeeze() -> None:
    x = torch.randn(2, 3, 4, 6)
    assert torch.equal(PatchSqueeze((3, 4, 6), patch=(2, 2))(x), PixelSqueeze((3, 4, 6))(x))


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BijectionError, match="patches of 3x2 do not tile 4x6; choose divisors"):
        PatchSqueeze((1, 4, 6), patch=(3, 2))
    with pytest.raises(BijectionError, match=r"shape \(24,\): expected an image"):
        PatchSqueeze((24,), patch=(3, 2))
