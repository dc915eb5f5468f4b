"""Single pictures in files: every kind that Pillow reads, upright, bounded, and as examples of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linearizer_core.errors import ConfigError, DataError
from linearizer_core.figures.files import read_example, read_picture, write_picture

HEIGHT, WIDTH = 20, 60


def places() -> np.ndarray:
    """A picture whose pixels tell where they are."""
    rows, columns = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
    return np.stack([rows * 12, columns * 4, rows * 0], axis=2).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16"])
def test_every_kind_of_picture_is_read(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png")
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 65535 // 2, dtype=np.uint16)).save(path)
    else:
        Image.new("RGB", (6, 4), (255, 255, 255) if mode == "1" else (128, 128, 128)).convert(mode).save(path)
    picture = read_picture(path)
    assert picture.shape == (3, 4, 6)
    assert float((picture - (1.0 if mode == "1" else 0.5)).abs().max()) < (0.11 if mode == "P" else 0.01)  # a palette has few greys


def test_transparent_parts_are_white_and_pictures_upright(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert float(read_picture(tmp_path / "clear.png").min()) == 1
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(places()).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg").shape == (3, WIDTH, HEIGHT)
    assert read_picture(tmp_path / "turned.jpg", 10).shape == (3, 30, 10)


def test_pictures_that_cannot_be_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "absent.png"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a picture"):
            read_picture(tmp_path / name)
    Image.fromarray(places()).save(tmp_path / "large.png")
    monkeypatch.setattr("linearizer_core.figures.files.LARGEST", 1000)
    with pytest.raises(DataError, match=r"60 x 20 pixels, expected at most 1,000 in all; scale it down"):
        read_picture(tmp_path / "large.png")
    for path in (tmp_path / "picture.xyz", tmp_path / "absent" / "picture.png"):
        with pytest.raises(DataError, match="cannot be written"):
            write_picture(torch.zeros(3, 4, 4), path)


def test_a_picture_comes_back_as_it_was_written(tmp_path: Path) -> None:
    picture = torch.randint(0, 256, (3, 5, 7), generator=torch.Generator().manual_seed(0)).float() / 255
    write_picture(picture, tmp_path / "picture.png")
    assert torch.equal(read_picture(tmp_path / "picture.png"), picture)


@pytest.mark.parametrize("shape", [(3, 10, 10), (1, 8, 24), (3, 40, 40)])
def test_examples_are_scaled_and_cropped_around_the_centre(shape: tuple[int, ...], tmp_path: Path) -> None:
    Image.fromarray(places()).save(tmp_path / "picture.png")
    example = read_example(tmp_path / "picture.png", shape)
    assert example.shape == shape
    middle = read_picture(tmp_path / "picture.png").mean((1, 2))
    if shape[0] == 3:
        assert (example.mean((1, 2)) - middle).abs().max() < 0.02
        assert example[1, 0, -1] - example[1, 0, 0] < 0.6 * (WIDTH - 1) * 4 / 255  # columns at the sides are gone
    with pytest.raises(ConfigError, match=r"the model takes examples of shape \(5,\), which are no images"):
        read_example(tmp_path / "picture.png", (5,))


@pytest.mark.parametrize("name", ["a.png", "called.png.ppm"])
def test_only_the_formats_that_may_be_are_decoded(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / name, format="ppm")
    assert read_picture(tmp_path / name).shape == (3, 4, 4)
    for read in (lambda: read_picture(tmp_path / name, formats=("PNG",)), lambda: read_example(tmp_path / name, (3, 4, 4), formats=("PNG",))):
        with pytest.raises(DataError, match="cannot be read as a picture"):
            read()
