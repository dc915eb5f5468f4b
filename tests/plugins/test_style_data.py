"""Pairs of pictures from files and from teachers."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from linearizer_core.data import Splits
from linearizer_core.errors import ConfigError, DataError
from linearizer_core.factory import create_dataset
from linearizer_core.figures.files import read_picture
from linearizer_core.testing import DatasetSubject, run_checks
from linearizer_style.config import GatysConfig, StyleTeacherConfig
from linearizer_style.teacher_data import StyleTeacher
from linearizer_style.teachers.contract import taught
from linearizer_style.teachers.fast_network import FastStyleNetwork
from linearizer_style.teachers.gatys import Gatys, gram

SIDE, WIDTH, HEIGHT = 8, 60, 20


def places(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A picture whose red and green tell column and row: so a crop tells where it comes from."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([columns, rows, np.full_like(rows, seed)], axis=2).astype(np.uint8)


@pytest.fixture
def side_by_side(tmp_path: Path) -> Path:
    for number, name in enumerate(("door", "door-way")):  # the second looks like a version of the first, and is one
        Image.fromarray(places(seed=number)).save(tmp_path / f"{name}.png")
    Image.fromarray(255 - places()).save(tmp_path / "door-candy.png")
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for folder in ("content", "candy", "udnie"):
        (tmp_path / folder).mkdir()
    for number in range(6):
        picture = places(seed=number)
        for folder, version in (("content", picture), ("candy", 255 - picture), ("udnie", picture[:, :, ::-1].copy())):
            Image.fromarray(version).save(tmp_path / folder / f"{number}.png")
    return tmp_path


def loaded(root: Path, **options: Any) -> Splits:
    return create_dataset("style_pairs", **{"root": root, "crop": SIDE, "crops": 50, **options}).load()


def test_pairs_side_by_side(side_by_side: Path) -> None:
    splits = loaded(side_by_side)
    assert (splits.info.shape, splits.info.classes, splits.info.class_names) == ((3, SIDE, SIDE), 2, ("candy", "way"))
    assert len(splits.train) == 2 * 50  # type: ignore[arg-type]
    for item in (splits.train[0], splits.validation[0], splits.test[0]):
        assert item["label"] == 0
        assert torch.allclose(item["y"], 1 - item["x"], atol=1e-6)
    assert loaded(side_by_side, styles=["way"]).info.class_names == ("way",)


def test_no_pixel_is_in_two_splits(side_by_side: Path) -> None:
    splits = loaded(side_by_side)
    seen = {name: set() for name in ("train", "validation", "test")}
    for name, columns in seen.items():
        dataset = getattr(splits, name)
        for index in range(len(dataset)):
            columns |= set((dataset[index]["x"][0] * 255).round().int().flatten().tolist())
    for first, second in itertools.combinations(seen.values(), 2):
        assert not first & second
    assert max(seen["train"]) < min(seen["validation"]) <= max(seen["validation"]) < min(seen["test"])


def test_whole_pictures_are_held_out(folders: Path) -> None:
    splits = loaded(folders, hold_out="pictures", crops=200)
    assert splits.info.class_names == ("candy", "udnie")
    seen = [
        {round(float(dataset[index]["x"][2, 0, 0]) * 255) for index in range(len(dataset))}  # type: ignore[arg-type]
        for dataset in (splits.train, splits.validation, splits.test)
    ]
    assert [len(numbers) for numbers in seen] == [4, 1, 1]
    assert set.union(*seen) == set(range(6))


def test_the_shorter_side_is_scaled(folders: Path) -> None:
    assert len(loaded(folders, side=40, crop=16).test) > len(loaded(folders, side=20, crop=16, test=0.3, validation=0.3).test)  # type: ignore[arg-type]


def test_the_data_keep_their_laws(folders: Path) -> None:
    for options in ({}, {"hold_out": "pictures"}):
        results = run_checks(DatasetSubject("style_pairs", options={"root": folders, "crop": SIDE, "crops": 20, **options}))
        assert [(result.check, result.message) for result in results if result.status != "passed"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "absent"}, r"data.root = absent is not a folder"),
        ({"crop": 16}, r"door: 60 x 20 pixels leave parts \[39, 9, 12\] pixels wide .* lower data.crop"),
        ({"hold_out": "pictures"}, r"needs more than 2 pictures, found 1"),
        ({"styles": ["candy", "udnie"]}, r"no version in the style 'udnie', only \['candy', 'way'\]"),
    ],
)
def test_pairs_that_cannot_be_used(side_by_side: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        loaded(**{"root": side_by_side, **options})


def test_pairs_of_unequal_size_and_pictures_without_pairs(side_by_side: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    Image.fromarray(places(61)).save(side_by_side / "door-candy.png")
    with pytest.raises(DataError, match=r"has 61 x 20 pixels, .*60 x 20; expected equal sizes"):
        loaded(side_by_side)
    lonely = tmp_path_factory.mktemp("lonely")
    Image.fromarray(places()).save(lonely / "door.png")
    with pytest.raises(DataError, match="holds no pairs"):
        loaded(lonely)


# --- teachers -----------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    Image.fromarray(places()).save(tmp_path / "photos" / "door.png")
    return tmp_path / "photos"


def test_any_callable_teaches(photos: Path) -> None:
    splits = StyleTeacher(
        StyleTeacherConfig(root=photos, crop=SIDE, crops=5), {"negative": lambda images: 1 - images, "as it is": lambda images: images}
    ).load()
    assert splits.info.class_names == ("negative", "as it is")
    for item in (splits.train[index] for index in range(10)):
        assert torch.allclose(item["y"], item["x"] if item["label"] else 1 - item["x"], atol=1e-6)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        (lambda images: images[:, :, 1:], r"made \(1, 3, 19, 60\) of images of shape \(1, 3, 20, 60\)"),
        (lambda images: images / 0, "NaN or infinite"),
        (lambda images: "a picture", "made str"),
    ],
)
def test_what_is_no_teacher(teacher: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        taught("strange", teacher, torch.zeros(1, 3, 20, 60))


def test_teachers_must_be_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name files in data.networks or data.pictures"):
        StyleTeacher(StyleTeacherConfig(root=photos)).load()
    with pytest.raises(DataError, match="is not a folder with pictures"):
        StyleTeacher(StyleTeacherConfig(root=tmp_path / "absent"), {"same": lambda images: images}).load()


def test_a_fast_style_network_from_a_file(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = FastStyleNetwork().eval().requires_grad_(False)
    path = tmp_path / "candy.safetensors"
    save_file(network.state_dict(), path)
    images = torch.rand(2, 3, 21, 34, generator=torch.Generator().manual_seed(0))
    painted = FastStyleNetwork.from_file(path)(images)
    assert painted.shape == images.shape
    assert torch.equal(painted, network(images))
    splits = create_dataset("style_teacher", root=photos, crop=SIDE, crops=5, networks={"candy": path}).load()
    expected = network(read_picture(photos / "door.png")[None])[0]
    first = splits.test[0]
    corner = expected[:, :SIDE, 48 : 48 + SIDE]
    assert float((first["y"] - corner).abs().max()) < 0.6 / 255


def test_the_names_of_a_fast_style_network_are_those_that_are_told() -> None:
    names = set(FastStyleNetwork().state_dict())
    blocks = [f"res{number}.{part}" for number in range(1, 6) for part in ("conv1.conv2d", "in1", "conv2.conv2d", "in2")]
    layers = ["conv1.conv2d", "in1", "conv2.conv2d", "in2", "conv3.conv2d", "in3", *blocks]
    layers += ["deconv1.conv2d", "in4", "deconv2.conv2d", "in5", "deconv3.conv2d"]
    assert names == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert sum(tensor.numel() for tensor in FastStyleNetwork().state_dict().values()) == 1_679_235  # as published


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    state = FastStyleNetwork().state_dict()
    more, fewer, other = dict(state), dict(state), dict(state)
    more["in1.running_mean"] = torch.zeros(32)
    del fewer["conv1.conv2d.bias"]
    other["conv1.conv2d.weight"] = torch.zeros(32, 3, 3, 3)
    for number, (tensors, message) in enumerate(
        ((more, "'in1.running_mean': .*expected no such tensor"), (fewer, "'conv1.conv2d.bias': missing"), (other, r"'conv1.conv2d.weight': \(32, 3, 3, 3\)"))
    ):
        save_file(tensors, tmp_path / f"{number}.safetensors")
        with pytest.raises(DataError, match=message):
            FastStyleNetwork.from_file(tmp_path / f"{number}.safetensors")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        FastStyleNetwork.from_file(tmp_path / "absent.safetensors")


def test_optimisation_brings_gram_matrices_nearer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "resnet10t.safetensors"
    save_file({name: value.contiguous() for name, value in timm.create_model("resnet10t", pretrained=False).state_dict().items()}, weights)
    stripes = np.zeros((32, 32, 3), dtype=np.uint8)
    stripes[:, ::4] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    teacher = Gatys(
        tmp_path / "stripes.png", GatysConfig(model="resnet10t", weights=weights, layers=1, steps=8, lr=0.1, variation_weight=0.0, content_weight=0.0)
    )
    x = torch.full((1, 3, 32, 32), 0.5) + 0.01 * torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    y = taught("stripes", teacher, x)
    target = gram(teacher.maps(read_picture(tmp_path / "stripes.png")[None])[0])

    def distance(images: torch.Tensor) -> float:
        return float((gram(teacher.maps(images)[0]) - target).norm())

    assert distance(y) < 0.9 * distance(x)
    assert torch.equal(taught("stripes", teacher, x), y)
    with pytest.raises(ConfigError, match=r"gatys\.layers asks for 9"):
        Gatys(tmp_path / "stripes.png", GatysConfig(model="resnet10t", weights=weights, layers=9))
