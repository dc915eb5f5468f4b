"""The data set of prepared pictures: mapped reading gives the bits that were written, labels are chosen by name, damage is refused."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from linearizer_core import create_dataset
from linearizer_core.data import Splits, collate, stack
from linearizer_core.errors import DataError
from linearizer_datasets.config import ImageFolderConfig, PrepareConfig, PreparedConfig
from linearizer_datasets.image_folder import ImageFolder
from linearizer_datasets.prepare import prepare
from linearizer_datasets.prepared import MappedPictures, Prepared
from tests.plugins.faces import ATTRIBUTES, has, picture, write_faces


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_faces(tmp_path_factory.mktemp("data") / "celeba")
    lists = {"split": folder / "list_eval_partition.txt", "attributes": folder / "list_attr_celeba.txt"}
    prepare(folder / "img_align_celeba", folder.parent / "celeba16", PrepareConfig(size=16, crop=140, **lists))
    return folder.parent / "celeba16"


def load(root: Path, label: str | None = None) -> Splits:
    return Prepared(PreparedConfig(root=root, label=label)).load()


def test_examples_are_the_pixels_of_the_files(root: Path) -> None:
    splits = load(root)
    assert (splits.info.name, splits.info.shape, splits.info.classes) == ("celeba16", (3, 16, 16), 0)
    for name, part in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        expected = torch.from_numpy(np.load(root / f"{name}.npy")).permute(0, 3, 1, 2).float() / 255
        batch = stack(part)
        assert batch.keys() == {"x"}
        assert torch.equal(batch["x"], expected)
        assert batch["x"].is_contiguous()
        assert all(torch.equal(item["x"], row) for item, row in zip(part, expected, strict=True))


def test_the_label_is_chosen_by_name(root: Path) -> None:
    for column, name in enumerate(ATTRIBUTES):
        splits = load(root, name)
        assert (splits.info.classes, splits.info.class_names) == (2, (f"not {name}", name))
        labels = torch.cat([stack(part)["label"] for part in (splits.train, splits.validation, splits.test)])
        assert labels.dtype == torch.int64
        assert labels.tolist() == [has(number)[column] for number in range(40)]
    assert create_dataset("prepared", root=str(root), label="none").load().info.classes == 0
    with pytest.raises(
        DataError, match=r"data.label = 'Smilling': .*celeba16 has no such label; did you mean 'Smiling'\? \(valid here: 5_o_Clock_Shadow, Male"
    ):
        load(root, "Smilling")


@pytest.mark.parametrize("workers", [0, 2])
def test_processes_of_a_loader_give_the_same_bits(root: Path, workers: int) -> None:
    splits = load(root, "Smiling")
    batches = list(DataLoader(splits.train, batch_size=7, collate_fn=collate, num_workers=workers))
    whole = stack(splits.train)
    for key in ("x", "label"):
        assert torch.equal(torch.cat([batch[key] for batch in batches]), whole[key])


def test_processes_are_given_the_name_of_the_file_and_not_its_content(root: Path) -> None:
    dataset = load(root).train
    sent = pickle.dumps(dataset)
    assert len(sent) < 1000 < os.path.getsize(root / "train.npy")
    again = pickle.loads(sent)
    assert isinstance(again, MappedPictures)
    assert torch.equal(stack(again)["x"], stack(dataset)["x"])


def test_reading_needs_no_memory_for_the_file(tmp_path: Path) -> None:
    """64 GiB that are a hole in a file: what is not asked for is never read."""
    shape = (2**24, 64, 64, 1)
    with (tmp_path / "train.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        start = file.tell()
        file.truncate(start + 2**36)
        file.seek(start + 2**35)
        file.write(b"\xff")
    pictures = MappedPictures(tmp_path / "train.npy")
    assert len(pictures) == 2**24
    batch = pictures.__getitems__([0, 2**23, 2**24 - 1])["x"]
    assert batch.flatten(1).sum(1).tolist() == [0, 1, 0]


def test_a_folder_gives_the_same_bits_prepared_and_read_as_it_is(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / "pictures" / ("cat" if number % 2 else "cat-2")  # sorted part by part, "cat" comes first
        folder.mkdir(parents=True, exist_ok=True)
        picture(number, 30, 20).save(folder / f"{number}.png")
    options: dict[str, Any] = {"size": 8, "channels": 1, "validation": 0.2, "test": 0.3, "seed": 5}
    described = prepare(tmp_path / "pictures", tmp_path / "prepared", PrepareConfig(**options))
    assert described.labels == {"folder": ("cat", "cat-2")}
    prepared = load(tmp_path / "prepared", "folder")
    direct = ImageFolder(ImageFolderConfig(root=tmp_path / "pictures", **options)).load()
    assert (prepared.info.shape, prepared.info.classes) == (direct.info.shape, direct.info.classes)
    for first, second in ((prepared.train, direct.train), (prepared.validation, direct.validation), (prepared.test, direct.test)):
        one, other = stack(first), stack(second)
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["label"], other["label"])


def test_one_folder_is_no_label(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / "pictures" / "all").mkdir(parents=True, exist_ok=True)
        picture(number, 8, 8).save(tmp_path / "pictures" / "all" / f"{number}.png")
    assert prepare(tmp_path / "pictures", tmp_path / "out", PrepareConfig(size=8)).labels == {}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"pictures.json", "train.npy", "validation.npy", "test.npy"}


# --- damage -------------------------------------------------------------------------------------------


class Payload:
    """A pickle that, when it is loaded, fails the test."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle ran",)


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(change((folder / name).read_bytes()))


def described(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: (folder / "pictures.json").write_text(json.dumps({**json.loads((folder / "pictures.json").read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "pictures.json").unlink(), r"pictures.json does not exist; data.root must be a folder that `linearizer prepare` wrote"),
        (rewrite("pictures.json", lambda raw: raw[:-20]), r"pictures.json cannot be used \(: Invalid JSON.*\); prepare the pictures again"),
        (rewrite("pictures.json", lambda raw: b"\xff" + raw), r"pictures.json cannot be used \(: Invalid JSON"),
        (described(format=2), r"pictures.json cannot be used \(format: Input should be 1\)"),
        (described(more=1), r"pictures.json cannot be used \(more: Extra inputs are not permitted\)"),
        (described(size=17), r"train.npy is uint8 of shape \(24, 16, 16, 3\), expected uint8 of shape \(24, 17, 17, 3\); prepare"),
        (lambda folder: (folder / "test.npy").unlink(), r"test.npy cannot be read .*No such file"),
        (rewrite("validation.npy", lambda raw: raw[:-1]), r"validation.npy cannot be read .*"),
        (rewrite("train.npy", lambda raw: b"PK\x03\x04" + raw), r"train.npy cannot be read .*"),
        (lambda folder: np.save(folder / "train.npy", np.array([Payload()] * 24, dtype=object)), r"train.npy cannot be read .*Python objects"),
        (lambda folder: np.save(folder / "test_labels.npy", np.full((8, 3), 2, dtype=np.int32)), r"test_labels.npy: Male runs from 2 to 2"),
        (lambda folder: np.save(folder / "test_labels.npy", np.zeros((8, 2), dtype=np.int32)), r"test_labels.npy is int32 of shape \(8, 2\), expected"),
    ],
)
def test_damage_is_refused(root: Path, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    for path in root.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load(tmp_path, "Male")
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        load(tmp_path, "Male")
