"""Pictures of visitors: odd ones are read, hostile ones are refused with a message, drawings look like digits."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from linearizer_core.errors import ConfigError
from linearizer_demo.uploads import FORMATS, LARGEST_FILE, read_drawing, read_upload

SHAPE = (1, 28, 28)


def _half(mode: str) -> Image.Image:
    """Left half dark, right half bright."""
    grey = np.zeros((40, 60), np.uint8)
    grey[:, 30:] = 255
    picture = Image.fromarray(grey)
    return picture.convert("RGB").convert(mode) if mode == "CMYK" else picture.convert(mode)


def _deep() -> Image.Image:
    deep = np.zeros((40, 60), np.uint16)
    deep[:, 30:] = 65535
    return Image.fromarray(deep)


ODD = {
    "grey.png": lambda path: _half("L").save(path),
    "palette.png": lambda path: _half("P").save(path),
    "transparent.png": lambda path: _half("RGBA").save(path),
    "one-bit.png": lambda path: _half("1").save(path),
    "deep.png": lambda path: _deep().save(path),
    "cmyk.jpg": lambda path: _half("CMYK").save(path, quality=95),
    "cmyk.tiff": lambda path: _half("CMYK").save(path),
    "photo.webp": lambda path: _half("RGB").save(path),
    "photo.bmp": lambda path: _half("RGB").save(path),
    "still.gif": lambda path: _half("P").save(path),
    "a name with spaces; rm -rf.png": lambda path: _half("RGB").save(path),
    "wrong ending.exe": lambda path: _half("RGB").save(path, format="png"),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures_are_read(tmp_path: Path, name: str) -> None:
    ODD[name](tmp_path / name)
    example, note = read_upload(tmp_path / name, SHAPE)
    assert (example.shape, example.dtype, note) == (SHAPE, torch.float32, "")
    assert float(example[:, :, :10].max()) < 0.1
    assert float(example[:, :, -10:].min()) > 0.9
    photo, _ = read_upload(tmp_path / name)
    assert photo.shape == (3, 40, 60)


def test_of_an_animation_the_first_picture_is_used_and_told(tmp_path: Path) -> None:
    for ending in ("gif", "webp", "png"):
        path = tmp_path / f"film.{ending}"
        _half("L").save(path, save_all=True, append_images=[Image.new("L", (60, 40), 255)] * 3)
        example, note = read_upload(path, SHAPE)
        assert "first picture" in note
        assert float(example[:, :, :10].max()) < 0.1


def test_large_photos_are_scaled_down(tmp_path: Path) -> None:
    Image.new("RGB", (4000, 3000), "red").save(tmp_path / "photo.jpg")
    photo, _ = read_upload(tmp_path / "photo.jpg")
    assert photo.shape == (3, 512, 683)


def _bomb() -> bytes:
    """A PNG file whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, format="png")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "this file is empty"),
        (bytes(LARGEST_FILE + 1), "this file has 10 MB, expected at most 10"),
        (_png(20_000, 100), "20,000 x 100 pixels, expected at most 8,192 on a side"),
        (_png(8000, 4000), "8,000 x 4,000 pixels, expected at most"),
        (_png(2000, 20), "at most 8 times as long as wide"),
        (_png(1, 1), "1 x 1 pixels"),
        (_bomb(), "too many pixels"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "cannot be read as a picture"),
        (_png(50, 50)[:60], "cannot be read as a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "cannot be read as a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as a picture"),
        (b"#!/bin/sh\nrm -rf /\n", "cannot be read as a picture"),
    ],
)
def test_hostile_files_give_a_message(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    for shape in (None, SHAPE):
        with pytest.raises(ConfigError) as caught:
            read_upload(path, shape)
        assert words in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def _drawn(canvas: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize("side", [28, 32])
def test_a_drawing_anywhere_is_centred_by_its_mass(side: int) -> None:
    canvas = np.zeros((280, 280), np.uint8)
    canvas[10:60, 200:212] = 255
    drawing = read_drawing(_drawn(canvas), (1, side, side))
    assert drawing is not None
    at = torch.arange(side, dtype=torch.float32)
    for axis in (1, 2):
        mass = drawing[0].sum(2 - axis)
        assert float((mass * at).sum() / mass.sum()) == pytest.approx((side - 1) / 2, abs=0.51)
    assert int((drawing[0] > 0.5).any(1).sum()) == round(side * 2 / 3)
    assert float(drawing.max()) == 1


def test_a_wide_drawing_stays_within_the_picture() -> None:
    canvas = np.zeros((280, 280), np.uint8)
    canvas[100:110] = 255
    canvas[100:180, :10] = 255
    drawing = read_drawing(_drawn(canvas), (3, 28, 28))
    assert drawing is not None
    assert drawing.shape == (3, 28, 28)


def test_nothing_drawn_is_nothing() -> None:
    assert read_drawing(_drawn(np.zeros((280, 280), np.uint8)), SHAPE) is None


def test_dark_strokes_on_paper_are_inverted(tmp_path: Path) -> None:
    paper = np.full((100, 100), 250, np.uint8)
    paper[20:80, 45:55] = 10
    Image.fromarray(paper).save(tmp_path / "paper.png")
    drawing = read_drawing(tmp_path / "paper.png", SHAPE)
    assert drawing is not None
    assert float(drawing[0, 0, 0]) == 0
    assert float(drawing[0, 14, 14]) > 0.9


@pytest.mark.parametrize("given", ["data:image/png;base64,####", "data:image/gif;base64,R0lGODlh", "data:image/png;base64," + "A" * 2**21, 7, ["x"]])
def test_what_is_no_drawing(given: object) -> None:
    with pytest.raises(ConfigError, match="no drawing that we can read"):
        read_drawing(given, SHAPE)


def test_a_canvas_that_is_too_large() -> None:
    with pytest.raises(ConfigError, match="3000 x 10 pixels"):
        read_drawing(_drawn(np.zeros((10, 3000), np.uint8)), SHAPE)


def test_an_upload_that_was_deleted(tmp_path: Path) -> None:
    for read in (
        lambda: read_upload(tmp_path / "gone.png"),
        lambda: read_upload(tmp_path / "gone.png", SHAPE),
        lambda: read_drawing(tmp_path / "gone.png", SHAPE),
    ):
        with pytest.raises(ConfigError, match=r"^this picture was deleted here after ten minutes; upload it again$"):
            read()


@pytest.mark.parametrize("shape", [None, SHAPE])
def test_no_decoder_but_those_of_the_list_sees_an_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int, int] | None) -> None:
    _half("RGB").save(tmp_path / "picture.png")
    whole, asked = Image.open, []
    monkeypatch.setattr(Image, "open", lambda path, **options: asked.append(options.get("formats")) or whole(path, **options))  # type: ignore[func-returns-value]
    read_upload(tmp_path / "picture.png", shape)
    assert asked == [FORMATS, FORMATS]
