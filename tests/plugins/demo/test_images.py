"""What is shown, as files and as HTML."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from linearizer_core.demo import Fact, Output, Shown
from linearizer_core.errors import ConfigError
from linearizer_demo.engine import Result
from linearizer_demo.images import columns_of, film, png, sheet
from linearizer_demo.panel import complain, draw


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_comes_back(channels: int) -> None:
    x = torch.rand(channels, 5, 7, generator=torch.Generator().manual_seed(0))
    back = torch.from_numpy(np.array(_opened(png(x)))).reshape(5, 7, channels).permute(2, 0, 1)
    assert torch.equal(back, (x * 255).round().byte())


def test_a_sheet_has_crisp_tiles_and_transparent_gaps() -> None:
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    picture = _opened(sheet(x))
    assert picture.mode == "RGBA"
    assert picture.height == 128
    pixels = np.array(picture)
    assert np.array_equal(pixels[:128:16, :128:16, 0], (x[0, 0] * 255).round().byte().numpy())
    assert (pixels[:16, :16] == pixels[0, 0]).all()
    assert (pixels[:, 128 : 128 + 5, 3] == 0).all()


def test_large_images_stay_as_they_are() -> None:
    assert _opened(sheet(torch.rand(1, 3, 120, 200))).size == (200, 120)


def test_a_film_is_an_endless_animation_of_all_frames() -> None:
    frames = torch.linspace(0, 1, 6).reshape(6, 1, 1, 1).expand(6, 1, 8, 8)
    picture = _opened(film(frames))
    assert (picture.format, picture.n_frames, picture.info["loop"]) == ("WEBP", 6, 0)  # type: ignore[attr-defined]
    picture.seek(5)
    assert picture.convert("L").getpixel((4, 4)) == 255


@pytest.mark.parametrize(
    ("count", "most", "columns"), [(1, 8, 1), (5, 8, 5), (8, 8, 8), (9, 8, 5), (10, 8, 5), (16, 12, 8), (16, 6, 4), (32, 12, 8), (13, 12, 7)]
)
def test_rows_are_as_full_as_can_be(count: int, most: int, columns: int) -> None:
    assert columns_of(count, most) == columns


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (2, 2, 4, 4), (1, 4, 4)])
def test_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="cannot be shown"):
        sheet(torch.zeros(shape))


def test_whatever_a_tab_says_is_text() -> None:
    outputs = [Output("x", "<script>alert(1)</script>", description='"><img onerror=x>')]
    shown = Shown({"x": torch.full((2, 1, 4, 4), float("nan"))}, [Fact("<b>", "<i>")], "`a` <u>")
    html = draw(outputs, Result(shown, 0.5), note="<s>") + complain("<em>")
    for tag in ("script", "b", "i", "u", "s", "em", "img onerror"):
        assert f"<{tag}>" not in html
    assert "<code>a</code>" in html
    assert "0.50 s" in html
