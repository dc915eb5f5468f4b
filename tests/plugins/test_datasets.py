"""The dataset plugins: what they read, how they split it, and what they refuse."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import Tensor

from linearizer_core import create_dataset
from linearizer_core.data import Splits, stack
from linearizer_core.errors import DataError
from linearizer_datasets.config import DigitsConfig, ImageFolderConfig, MnistConfig, NpzConfig
from linearizer_datasets.digits import Digits
from linearizer_datasets.hooks import linearizer_datasets
from linearizer_datasets.image_folder import ImageFolder, read_picture
from linearizer_datasets.mnist import Mnist
from linearizer_datasets.npz import Npz


def parts(splits: Splits) -> list[dict[str, Tensor]]:
    return [stack(part) for part in (splits.train, splits.validation, splits.test)]


def rows(x: Tensor) -> list[bytes]:
    return sorted(row.numpy().tobytes() for row in x)


@pytest.mark.parametrize("spec", linearizer_datasets(), ids=lambda spec: spec.name)
def test_specs_are_well_formed_and_load(spec: Any) -> None:
    spec.check()
    assert spec.load_config().model_config["extra"] == "forbid"
    assert callable(spec.load_target())


# --- digits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [DigitsConfig(), DigitsConfig(seed=3, test=100, validation=37)])
def test_digits_are_split_without_loss_or_overlap(config: DigitsConfig) -> None:
    train, validation, test = parts(Digits(config).load())
    assert [len(part["x"]) for part in (train, validation, test)] == [1797 - config.test - config.validation, config.validation, config.test]
    source = load_digits()
    together = torch.cat([part["x"] for part in (train, validation, test)])
    assert rows(together) == rows(torch.from_numpy(source.images).float().unsqueeze(1) / 16)
    labelled = {(image.tobytes(), int(label)) for image, label in zip((source.images / 16).astype(np.float32), source.target, strict=True)}
    for part in (train, validation, test):
        assert {(x.numpy().tobytes(), int(label)) for x, label in zip(part["x"], part["label"], strict=True)} <= labelled


def test_digits_are_in_the_unit_interval_and_labelled() -> None:
    splits = create_dataset("digits").load()
    batch = stack(splits.train)
    assert (splits.info.name, splits.info.shape, splits.info.classes) == ("digits", (1, 8, 8), 10)
    assert (batch["x"].dtype, batch["label"].dtype) == (torch.float32, torch.int64)
    assert (float(batch["x"].min()), float(batch["x"].max())) == (0, 1)
    assert batch["label"].unique().tolist() == list(range(10))


def test_the_seed_alone_decides_the_split() -> None:
    torch.manual_seed(0)
    first = parts(Digits(DigitsConfig()).load())
    torch.manual_seed(1)
    again, other = parts(Digits(DigitsConfig()).load()), parts(Digits(DigitsConfig(seed=1)).load())
    assert all(torch.equal(a["x"], b["x"]) and torch.equal(a["label"], b["label"]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2]["x"], other[2]["x"])


# --- mnist ----------------------------------------------------------------------------------------

IDX = {"train-images-idx3-ubyte": slice(0, 50), "t10k-images-idx3-ubyte": slice(50, 70)}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, zipped: bool = False) -> Path:
    """Fifty training and twenty test digits of scikit-learn in MNIST's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    source = load_digits()
    for name, chosen in IDX.items():
        for kind, array in ((name, source.images[chosen]), (name.replace("images-idx3", "labels-idx1"), source.target[chosen])):
            content = idx(array)
            (folder / f"{kind}{'.gz' if zipped else ''}").write_bytes(gzip.compress(content) if zipped else content)
    return folder


def mnist(root: Path, validation: int = 10) -> Splits:
    return Mnist(MnistConfig(root=root, validation=validation)).load()


@pytest.mark.parametrize("zipped", [True, False], ids=["gz", "raw"])
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
def test_mnist_reads_every_layout(tmp_path: Path, zipped: bool, inside: str) -> None:
    write_mnist(tmp_path / inside, zipped=zipped)
    splits = mnist(tmp_path)
    assert (splits.info.name, splits.info.shape, splits.info.classes) == ("mnist", (1, 8, 8), 10)
    source = load_digits()
    for part, chosen in zip(parts(splits), (slice(0, 40), slice(40, 50), slice(50, 70)), strict=True):
        assert torch.equal(part["x"], torch.from_numpy(source.images[chosen]).to(torch.uint8).unsqueeze(1).float() / 255)
        assert part["label"].tolist() == source.target[chosen].tolist()


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def test_a_dark_margin_around_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    plain = mnist(tmp_path)
    wide = Mnist(MnistConfig(root=tmp_path, validation=10, margin=2)).load()
    assert wide.info.shape == (1, 12, 12)
    assert torch.equal(wide.test[3]["x"][:, 2:-2, 2:-2], plain.test[3]["x"])
    assert wide.test[3]["x"].sum() == plain.test[3]["x"].sum()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            rewrite("train-images-idx3-ubyte", lambda raw: raw[:-1]),
            r"train-images.* announces shape \[50, 8, 8\], but holds 3199 bytes.*truncated or damaged, fetch",
        ),
        (rewrite("train-images-idx3-ubyte", lambda raw: raw + b"x"), r"holds 3201 bytes"),
        (
            rewrite("t10k-images-idx3-ubyte", lambda raw: raw[:10]),
            r"t10k-images.* not an idx file of unsigned bytes in 3 dimensions \(it starts with 00 00 08 03\)",
        ),
        (rewrite("t10k-labels-idx1-ubyte", lambda raw: b""), r"t10k-labels.* \(it starts with nothing\)"),
        (rewrite("train-images-idx3-ubyte", lambda raw: b"\0\0\x0d\x03" + raw[4:]), r"\(it starts with 00 00 0d 03\)"),
        (rewrite("train-labels-idx1-ubyte", lambda raw: b"<html>" + raw), r"train-labels.* \(it starts with 3c 68 74 6d\)"),
        (rewrite("train-images-idx3-ubyte", lambda raw: raw[:4] + b"\xff" * 12 + raw[16:]), r"announces shape \[4294967295, 4294967295, 4294967295\]"),
        (rewrite("train-labels-idx1-ubyte", lambda raw: idx(np.zeros(49))), r"50 train images but 49 labels; fetch both files again"),
        (rewrite("t10k-labels-idx1-ubyte", lambda raw: raw[:-1] + b"\x0a"), r"t10k labels reach 10, digits are 0 to 9"),
        (rewrite("t10k-images-idx3-ubyte", lambda raw: idx(np.zeros((20, 7, 7)))), r"train images have shape \(1, 8, 8\), test images \(1, 7, 7\)"),
        (lambda folder: (folder / "t10k-labels-idx1-ubyte").unlink(), r"neither .*t10k-labels-idx1-ubyte nor .*\.gz exists; MNIST needs four idx files"),
        (lambda folder: (folder / "train-images-idx3-ubyte").unlink(), r"no file train-images-idx3-ubyte\(.gz\) in .*set data.root to the folder"),
    ],
)
def test_damaged_mnist_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(write_mnist(tmp_path))
    with pytest.raises(DataError, match=message):
        mnist(tmp_path)


@pytest.mark.parametrize("change", [lambda raw: raw[:-20], lambda raw: raw[:40] + b"\xff" * 20 + raw[60:], lambda raw: b"not gzip"])
def test_damaged_archives_are_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    rewrite("train-images-idx3-ubyte.gz", change)(write_mnist(tmp_path, zipped=True))
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz cannot be read .*fetch it again"):
        mnist(tmp_path)


def test_a_validation_split_that_leaves_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 50 training images, data.validation asks for 50; lower data.validation"):
        mnist(write_mnist(tmp_path), validation=50)


@pytest.mark.skipif("LINEARIZER_MNIST" not in os.environ, reason="LINEARIZER_MNIST names no folder with the real MNIST")
def test_the_real_mnist() -> None:
    splits = Mnist(MnistConfig(root=Path(os.environ["LINEARIZER_MNIST"]))).load()
    train, validation, test = parts(splits)
    assert splits.info.shape == (1, 28, 28)
    assert [len(part["x"]) for part in (train, validation, test)] == [50_000, 10_000, 10_000]
    x, labels = torch.cat([train["x"], validation["x"]]), torch.cat([train["label"], validation["label"]])
    assert float(x.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(x.std()) == pytest.approx(0.3081, abs=1e-4)
    assert labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test["label"][:5].tolist() == [7, 2, 1, 0, 4]


# --- image folder -----------------------------------------------------------------------------------


def write_pictures(root: Path, classes: tuple[str, ...] = ("",), count: int = 10) -> Path:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (20 * index, 50 * number, 0)).save(root / name / f"{index}.png")
    return root


def image_folder(root: Path, **options: Any) -> Splits:
    return ImageFolder(ImageFolderConfig(root=root, size=8, **options)).load()


def test_subfolders_are_the_classes(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("cat", "ant", "bee"))
    (tmp_path / "cat" / "deeper").mkdir()
    Image.new("RGB", (8, 8), (250, 0, 0)).save(tmp_path / "cat" / "deeper" / "one.JPG")
    (tmp_path / "cat" / "notes.txt").touch()
    (tmp_path / "cat" / "folder.png").mkdir()
    splits = image_folder(tmp_path)
    assert (splits.info.shape, splits.info.classes) == ((3, 8, 8), 3)
    together = [stack(part) for part in (splits.train, splits.validation, splits.test)]
    assert [len(part["x"]) for part in together] == [25, 3, 3]
    label = torch.cat([part["label"] for part in together])
    x = torch.cat([part["x"] for part in together])
    assert label.bincount().tolist() == [10, 10, 11]  # ant, bee, cat
    for index, green in enumerate((50, 100, 0)):
        assert bool(((x[label == index][:, 1] * 255 - green).abs() < 3).all())


def test_pictures_of_one_folder_have_no_labels(tmp_path: Path) -> None:
    splits = image_folder(write_pictures(tmp_path), channels=1)
    assert (splits.info.shape, splits.info.classes) == ((1, 8, 8), 0)
    together = parts(splits)
    assert [part.keys() for part in together] == [{"x"}] * 3
    assert len({round(float(value) * 255) for part in together for value in part["x"][:, 0, 0, 0]}) == 10


def test_the_split_of_pictures_depends_on_the_seed_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    torch.manual_seed(0)
    first = parts(image_folder(tmp_path))
    torch.manual_seed(1)
    assert all(torch.equal(a["x"], b["x"]) for a, b in zip(first, parts(image_folder(tmp_path)), strict=True))
    assert any(not torch.equal(a["x"], b["x"]) for a, b in zip(first, parts(image_folder(tmp_path, seed=2)), strict=True))


def test_folders_without_enough_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.root = .*absent is not a folder; set it to"):
        image_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=r"holds 0 pictures \(\.bmp, .*\); too few .*add pictures or raise the fractions"):
        image_folder(tmp_path)
    write_pictures(tmp_path, count=9)
    with pytest.raises(DataError, match="holds 9 pictures"):
        image_folder(tmp_path)
    assert len(stack(image_folder(tmp_path, test=0.2, validation=0.2).train)["x"]) == 7


def test_pictures_beside_and_inside_subfolders_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, ("", "cat"))
    with pytest.raises(DataError, match="both beside and inside subfolders; put every picture into a class folder, or none"):
        image_folder(tmp_path)


def save(tmp_path: Path, picture: Image.Image, name: str = "picture.png", **options: Any) -> Path:
    picture.save(tmp_path / name, **options)
    return tmp_path / name


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 4, 2))
    x = read_picture(save(tmp_path, picture), 4, 3)
    assert torch.equal(x[:, 0, 0], torch.ones(3))
    assert torch.equal(x[:, 3, 0], torch.tensor([1.0, 0.0, 0.0]))
    half = read_picture(save(tmp_path, Image.new("LA", (4, 4), (0, 51))), 4, 1)
    assert torch.allclose(half, torch.full((1, 4, 4), 204 / 255), atol=0.005)
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255])
    assert torch.equal(read_picture(save(tmp_path, palette, transparency=0), 4, 3), torch.ones(3, 4, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_stays_grey(tmp_path: Path, channels: int) -> None:
    x = read_picture(save(tmp_path, Image.new("L", (6, 6), 128)), 6, channels)
    assert torch.equal(x, torch.full((channels, 6, 6), 128 / 255))


def test_sixteen_bit_grey_is_scaled(tmp_path: Path) -> None:
    picture = Image.fromarray(np.full((4, 4), 128 * 257, dtype=np.uint16))
    assert torch.equal(read_picture(save(tmp_path, picture), 4, 1), torch.full((1, 4, 4), 128 / 255))


def test_cmyk_is_converted(tmp_path: Path) -> None:
    x = read_picture(save(tmp_path, Image.new("CMYK", (8, 8), (0, 255, 0, 0)), "picture.jpg", quality=100), 8, 3)
    assert torch.allclose(x[:, 4, 4], torch.tensor([1.0, 0.0, 1.0]), atol=0.03)


def test_the_rotation_of_the_camera_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), "black")
    picture.paste((255, 255, 255), (0, 0, 8, 4))  # the upper half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the right half
    x = read_picture(save(tmp_path, picture, "picture.jpg", exif=exif, quality=100), 8, 1)[0]
    assert float(x[:, 5:].min()) > 0.9
    assert float(x[:, :3].max()) < 0.1


def test_the_shorter_side_is_scaled_and_the_centre_kept(tmp_path: Path) -> None:
    picture = Image.new("RGB", (32, 16), "red")
    picture.paste((0, 0, 255), (8, 0, 24, 16))
    x = read_picture(save(tmp_path, picture), 8, 3)
    assert x.shape == (3, 8, 8)
    assert torch.equal(x[:, :, 1:-1], torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1).expand(3, 8, 6))
    assert float(x[0].max()) < 0.1  # the edge of the crop sees a little of what lies beyond


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_picture_that_cannot_be_decoded_is_named_on_access(tmp_path: Path, content: bytes) -> None:
    write_pictures(tmp_path)
    (tmp_path / "3.png").write_bytes(content)
    splits = image_folder(tmp_path)
    with pytest.raises(DataError, match=r"3\.png cannot be decoded .*remove or replace it"):
        parts(splits)


@pytest.mark.filterwarnings("ignore")  # Pillow's, about odd metadata and large pictures
@pytest.mark.parametrize("name", ["picture.png", "picture.jpg", "picture.webp", "picture.bmp"])
def test_damage_at_any_place_is_a_data_error_or_a_picture(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    path = save(tmp_path, noise, name, **({} if name.endswith("bmp") else {"exif": exif}))
    good, generator = path.read_bytes(), np.random.default_rng(1)
    refused = 0
    for trial in range(120):
        damaged = bytearray(good)
        for place in generator.integers(0, len(good), 3):
            damaged[place] ^= int(generator.integers(1, 256))
        path.write_bytes(damaged[: len(good) - 7 * trial] if trial % 4 == 0 else damaged)
        try:
            assert read_picture(path, 8, 3).shape == (3, 8, 8)
        except DataError:
            refused += 1
    assert refused > 10


# --- npz --------------------------------------------------------------------------------------------


def arrays(count: int = 20, shape: tuple[int, ...] = (8, 8), seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {"images": generator.integers(0, 256, (count, *shape), dtype=np.uint8), "labels": generator.integers(0, 4, count, dtype=np.uint8)}


def write_npz(root: Path, *, train: dict[str, np.ndarray] | None = None, test: dict[str, np.ndarray] | None = None, compressed: bool = False) -> Path:
    writer = np.savez_compressed if compressed else np.savez
    writer(root / "train.npz", **(arrays() if train is None else train))
    writer(root / "test.npz", **(arrays(6, seed=1) if test is None else test))
    return root


def npz(root: Path, **options: Any) -> Splits:
    return Npz(NpzConfig(root=root, **options)).load()


@pytest.mark.parametrize(("shape", "expected"), [((8, 6), (1, 8, 6)), ((8, 6, 3), (3, 8, 6))])
def test_npz_arrays_of_both_layouts(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    train, test = arrays(20, shape), arrays(6, shape, seed=1)
    splits = npz(write_npz(tmp_path, train=train, test=test, compressed=True))
    assert (splits.info.name, splits.info.shape) == (tmp_path.name, expected)
    assert splits.info.classes == max(train["labels"].max(), test["labels"].max()) + 1
    for part, source, chosen in zip(parts(splits), (train, train, test), (slice(0, 18), slice(18, 20), slice(0, 6)), strict=True):
        assert torch.equal(part["x"], torch.from_numpy(source["images"][chosen]).reshape(-1, 8, 6, expected[0]).permute(0, 3, 1, 2).float() / 255)
        assert part["label"].dtype == torch.int64
        assert part["label"].tolist() == source["labels"][chosen].tolist()


def test_npz_without_labels_and_under_other_names(tmp_path: Path) -> None:
    write_npz(tmp_path, train={"x": arrays()["images"]}, test={"x": arrays()["images"]})
    splits = npz(tmp_path, images="x", labels=None)
    assert splits.info.classes == 0
    assert stack(splits.train).keys() == {"x"}
    assert create_dataset("npz", root=str(tmp_path), images="x", labels="none").load().info.classes == 0


def test_a_relative_root_still_gives_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_npz(tmp_path))
    assert npz(Path()).info.name == tmp_path.name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((20, 8, 8), dtype=np.float32)}, r"images is float32 of shape \(20, 8, 8\); expected uint8"),
        ({"images": np.zeros((20, 8), dtype=np.uint8)}, r"images is uint8 of shape \(20, 8\)"),
        ({"images": np.zeros((1, 8, 8), dtype=np.uint8)}, r"with N of at least 2"),
        ({"labels": np.zeros(19, dtype=np.int64)}, r"labels is int64 of shape \(19,\); expected one integer of at least 0 for each of 20 images"),
        ({"labels": np.zeros(20)}, r"labels is float64"),
        ({"labels": np.full(20, -1)}, r"at least 0"),
        ({"labels": np.array([object()] * 20)}, r"train.npz cannot be read .*Python objects are refused"),
        ({"extra": np.array([{"a": 1}], dtype=object)}, r"Python objects are refused"),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(tmp_path: Path, change: dict[str, np.ndarray], message: str) -> None:
    write_npz(tmp_path, train={**arrays(), **change})
    with pytest.raises(DataError, match=message):
        npz(tmp_path)


def test_missing_files_and_arrays_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train.npz does not exist; data.root must hold train.npz and test.npz"):
        npz(tmp_path)
    write_npz(tmp_path, test={"images": arrays()["images"]})
    with pytest.raises(DataError, match=r"test.npz has no array 'labels', it holds: images; set data.images or data.labels"):
        npz(tmp_path)
    write_npz(tmp_path, test=arrays(6, (7, 7)))
    with pytest.raises(DataError, match=r"train images have shape \(1, 8, 8\), test images \(1, 7, 7\); they must agree"):
        npz(tmp_path)


class Payload:
    """A pickle that, when it is loaded, creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_pickles_are_refused_and_run_nothing(tmp_path: Path) -> None:
    trace = tmp_path / "it ran"
    write_npz(tmp_path, train={**arrays(), "labels": np.array([Payload(trace)] * 20, dtype=object)})
    with pytest.raises(DataError, match="Python objects are refused"):
        npz(tmp_path)
    (tmp_path / "train.npz").write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(DataError, match="cannot be read"):
        npz(tmp_path)
    assert not trace.exists()


def test_files_that_are_no_archives_are_refused(tmp_path: Path) -> None:
    write_npz(tmp_path, compressed=True)
    good = (tmp_path / "train.npz").read_bytes()
    for broken in (b"", good[:-30], good[:100] + bytes(len(good) - 100), good[:80] + b"\xff" * 40 + good[120:]):
        (tmp_path / "train.npz").write_bytes(broken)
        with pytest.raises(DataError, match=r"train.npz cannot be read"):
            npz(tmp_path)
    with (tmp_path / "train.npz").open("wb") as file:
        np.save(file, arrays()["images"])
    with pytest.raises(DataError, match=r"train.npz is a single array, not an archive of arrays; write it with numpy.savez"):
        npz(tmp_path)
    with zipfile.ZipFile(tmp_path / "train.npz", "w") as archive:
        archive.writestr("images", b"no array at all")
    with pytest.raises(DataError, match="has no array 'images'"):
        npz(tmp_path)


# --- options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "values"),
    [
        (DigitsConfig, {"test": 5}),
        (DigitsConfig, {"validation": 501}),
        (MnistConfig, {}),
        (MnistConfig, {"root": "x", "validation": 0}),
        (ImageFolderConfig, {"root": "x", "channels": 2}),
        (ImageFolderConfig, {"root": "x", "test": 0.5}),
        (NpzConfig, {"root": "x", "colour": 1}),
    ],
)
def test_options_out_of_range_are_refused(config: Any, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        config(**values)
