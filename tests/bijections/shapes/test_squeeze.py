from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import pixel_unshuffle

from linearizer_core.bijections import HaarSqueeze, PixelSqueeze
from linearizer_core.errors import BijectionError

shapes = st.tuples(st.integers(1, 4), st.integers(1, 4).map(lambda n: 2 * n), st.integers(1, 4).map(lambda n: 2 * n))


@settings(deadline=None, max_examples=20)
@given(shapes)
def test_pixel_squeeze_is_pixel_unshuffle_up_to_the_order_of_channels(shape: tuple[int, int, int]) -> None:
    x = torch.randn(2, *shape)
    reference = pixel_unshuffle(x, 2).unflatten(1, (shape[0], 4)).transpose(1, 2).flatten(1, 2)
    assert torch.equal(PixelSqueeze(shape)(x), reference)


@settings(deadline=None, max_examples=20)
@given(shapes)
def test_haar_is_orthogonal_and_puts_averages_first(shape: tuple[int, int, int]) -> None:
    x = torch.randn(2, *shape, dtype=torch.float64)
    z = HaarSqueeze(shape)(x)
    assert torch.allclose(z.square().sum(), x.square().sum(), rtol=1e-13)
    assert torch.allclose(z[:, : shape[0]], 2 * torch.nn.functional.avg_pool2d(x, 2), atol=1e-13)


def test_haar_bands() -> None:
    horizontal, vertical = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    horizontal[..., 0], horizontal[..., 1] = 1, -1  # changes from left to right
    vertical[..., 0, :], vertical[..., 1, :] = 1, -1
    assert HaarSqueeze((1, 2, 2))(horizontal).flatten().tolist() == [0, 2, 0, 0]
    assert HaarSqueeze((1, 2, 2))(vertical).flatten().tolist() == [0, 0, 2, 0]
    assert HaarSqueeze((1, 2, 2))(horizontal * vertical).flatten().tolist() == [0, 0, 0, 2]


@pytest.mark.parametrize("squeeze", [HaarSqueeze, PixelSqueeze])
def test_shapes_that_cannot_be_squeezed_are_named(squeeze: type[HaarSqueeze] | type[PixelSqueeze]) -> None:
    with pytest.raises(BijectionError, match=r"\(1, 7, 8\): height and width must be even; pad"):
        squeeze((1, 7, 8))
    with pytest.raises(BijectionError, match=r"\(1, 8, 7\): height and width must be even"):
        squeeze((1, 8, 7))
    with pytest.raises(BijectionError, match=r"\(16,\): expected an image"):
        squeeze((16,))
