"""Preparing pictures once: what is cut out, that any number of processes writes the same bits, what is refused, and that a kill leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.v2 import CenterCrop, Compose, Grayscale, Resize
from torchvision.transforms.v2.functional import InterpolationMode

from linearizer_core.errors import ConfigError, DataError
from linearizer_datasets.config import PrepareConfig
from linearizer_datasets.pictures import read_pixels
from linearizer_datasets.prepare import _mapping, prepare
from linearizer_datasets.tables import read_attributes, read_split
from tests.plugins.faces import ATTRIBUTES, has, picture, write_faces
from tests.test_cli_plugged import call

FEW = settings(deadline=None, max_examples=20)


def saved(folder: Path, image: Image.Image) -> Path:
    image.save(folder / "picture.png")
    return folder / "picture.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("celeba"), 200)


def celeba(root: Path, **options: Any) -> PrepareConfig:
    return PrepareConfig(size=16, crop=140, split=root / "list_eval_partition.txt", attributes=root / "list_attr_celeba.txt", **options)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- one picture ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("crop", [140, 148, 178])
def test_crop_and_scale_are_those_of_torchvision(folder: Path, crop: int, channels: int) -> None:
    image = picture(1)
    steps = [CenterCrop(crop), Resize(64, InterpolationMode.BICUBIC)]
    expected = np.array(Compose([Grayscale(), *steps] if channels == 1 else steps)(image)).reshape(64, 64, channels)
    assert np.array_equal(read_pixels(saved(folder, image), 64, channels, crop), expected)


SIDES = st.integers(10, 60)


@FEW
@given(width=SIDES, height=SIDES, crop=st.integers(4, 10), size=st.integers(4, 20), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_constant_pictures_stay_constant(folder: Path, width: int, height: int, crop: int, size: int, colour: tuple[int, int, int]) -> None:
    path = saved(folder, Image.new("RGB", (width, height), colour))
    for chosen in (crop, None):
        assert np.array_equal(read_pixels(path, size, 3, chosen), np.broadcast_to(np.uint8(colour), (size, size, 3)))


@FEW
@given(seed=st.integers(0, 99), crop=st.integers(4, 30), margin=st.tuples(st.integers(0, 9), st.integers(0, 9)), size=st.integers(4, 30))
def test_flips_commute_with_crop_and_scale(folder: Path, seed: int, crop: int, margin: tuple[int, int], size: int) -> None:
    image = picture(seed, crop + 2 * margin[0], crop + 2 * margin[1])
    plain = read_pixels(saved(folder, image), size, 3, crop).astype(int)
    for flip, axis in ((Image.Transpose.FLIP_LEFT_RIGHT, 1), (Image.Transpose.FLIP_TOP_BOTTOM, 0)):
        flipped = read_pixels(saved(folder, image.transpose(flip)), size, 3, crop)
        assert np.abs(np.flip(flipped, axis) - plain).max() <= 1  # of 255: the filter adds up in the other order


@FEW
@given(seed=st.integers(0, 99), crop=st.integers(4, 30), size=st.integers(4, 30))
def test_nothing_outside_the_crop_is_seen(folder: Path, seed: int, crop: int, size: int) -> None:
    image = picture(seed, 40, 50)
    inside = read_pixels(saved(folder, image), size, 3, crop)
    left, top = (40 - crop) // 2, (50 - crop) // 2
    other = Image.new("RGB", image.size, "red")
    other.paste(image.crop((left, top, left + crop, top + crop)), (left, top))
    assert np.array_equal(read_pixels(saved(folder, other), size, 3, crop), inside)


# --- a folder -----------------------------------------------------------------------------------------


def test_every_file_is_what_the_pictures_and_lists_say(faces: Path, tmp_path: Path) -> None:
    described = prepare(faces / "img_align_celeba", tmp_path / "out", celeba(faces))
    assert described.counts == {"train": 120, "validation": 40, "test": 40}
    assert described.labels == {name: (f"not {name}", name) for name in ATTRIBUTES}
    number = 0
    for split, count in described.counts.items():
        pixels, labels = np.load(tmp_path / "out" / f"{split}.npy"), np.load(tmp_path / "out" / f"{split}_labels.npy")
        assert (pixels.dtype, pixels.shape, labels.shape) == (np.uint8, (count, 16, 16, 3), (count, 3))
        for row in range(count):
            assert np.array_equal(pixels[row], read_pixels(faces / "img_align_celeba" / f"{number + 1:06d}.jpg", 16, 3, 140))
            assert labels[row].tolist() == has(number)
            number += 1
    assert number == 200
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_bits_do_not_depend_on_the_processes(faces: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        prepare(faces / "img_align_celeba", tmp_path / str(processes), celeba(faces), processes)
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_both_forms_of_the_lists_are_read(tmp_path: Path) -> None:
    write_faces(tmp_path / "txt"), write_faces(tmp_path / "csv", csv=True)
    assert read_split(tmp_path / "csv" / "list_eval_partition.csv") == read_split(tmp_path / "txt" / "list_eval_partition.txt")
    (names, first), (others, second) = read_attributes(tmp_path / "txt" / "list_attr_celeba.txt"), read_attributes(tmp_path / "csv" / "list_attr_celeba.csv")
    assert names == others == list(ATTRIBUTES)
    assert {name: row.tolist() for name, row in first.items()} == {name: row.tolist() for name, row in second.items()}
    assert first["000006.jpg"].tolist() == [True, False, True]


def test_the_command(faces: Path, tmp_path: Path) -> None:
    lists = ["--split", str(faces / "list_eval_partition.txt"), "--attributes", str(faces / "list_attr_celeba.txt")]
    command = ["prepare", str(faces / "img_align_celeba"), "-o", str(tmp_path / "out"), "--size", "16", "--crop", "140", *lists, "--processes", "1"]
    code, out, err = call(*command)
    assert (code, out) == (
        0,
        f"{tmp_path / 'out'}: 120 train, 40 validation, 40 test, 3 labels to choose from with data.label; "
        f"train with data.name=prepared data.root={tmp_path / 'out'}\n",
    )
    assert "200/200" in err
    assert call(*command)[::2] == (2, f"error: {tmp_path / 'out'} exists; choose another folder, or remove it first\n")
    command[3] = str(tmp_path / "other")
    assert "a split file leaves nothing to draw; leave out seed, test, or the split file" in call(*command, "--seed", "1", "--test", "0.2")[2]
    assert "--size = 2: should be greater than or equal to 4" in call(*command, "--size", "2")[2]


# --- what is refused ------------------------------------------------------------------------------------


def test_all_pictures_that_cannot_be_used_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    pictures = write_faces(tmp_path / "celeba") / "img_align_celeba"
    whole = (pictures / "000003.jpg").read_bytes()
    (pictures / "000003.jpg").write_bytes(whole[: len(whole) // 2])
    picture(0, 178, 139).save(pictures / "000025.jpg")
    (pictures / "000039.jpg").write_text("<html>quota exceeded</html>")
    with pytest.raises(DataError) as caught:
        prepare(pictures, tmp_path / "out", celeba(tmp_path / "celeba"), processes=2)
    first, *lines = str(caught.value).splitlines()
    assert first == "3 pictures cannot be used, nothing was written"
    assert "000003.jpg cannot be decoded (image file is truncated" in lines[0]
    assert "000025.jpg has 178 x 139 pixels, expected at least 140 x 140; lower the crop" in lines[1]
    assert "000039.jpg cannot be decoded (cannot identify image file" in lines[2]
    assert [path.name for path in tmp_path.iterdir()] == ["celeba"]


def test_of_many_the_first_are_named(tmp_path: Path) -> None:
    pictures = write_faces(tmp_path / "celeba") / "img_align_celeba"
    with pytest.raises(DataError) as caught:
        prepare(pictures, tmp_path / "out", PrepareConfig(crop=300))
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (12, "40 pictures cannot be used, nothing was written", "  - and 30 more")


SPLIT = "list_eval_partition.txt"
ATTRIBUTE_FILE = "list_attr_celeba.txt"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (SPLIT, "000002.jpg 0", "000002.jpg 3", r"txt, line 2: '000002.jpg 3', expected the name of a picture and 0 \(training\), 1"),
        (SPLIT, "000002.jpg 0", "000002.jpg", r"line 2: '000002.jpg', expected"),
        (SPLIT, "000002.jpg", "000001.jpg", r"line 2: 000001.jpg is named twice; remove one of the lines"),
        (SPLIT, "000002.jpg", "000099.jpg", r"names 1 pictures that are not in .*img_align_celeba, such as 000099.jpg; the files must belong together"),
        (SPLIT, " 1\n", " 0\n", r"names no picture for validation; every split needs one"),
        (SPLIT, "000001", "\xff", r"txt cannot be read \(.*can't decode.*\); give a text file with a line for each picture"),
        (ATTRIBUTE_FILE, "000002.jpg  1 -1 -1", "000002.jpg  1 -1", r"line 4: '000002.jpg 1 -1', expected the name of a picture and 3 numbers, 1 or -1"),
        (ATTRIBUTE_FILE, "000002.jpg  1", "000002.jpg  2", r"line 4: '000002.jpg 2 -1 -1', expected"),
        (ATTRIBUTE_FILE, "000002.jpg  1 -1 -1", "", r"has no line for 1 pictures that are to be prepared, such as 000002.jpg"),
        (ATTRIBUTE_FILE, "Male", "Smiling", r"line 2: '5_o_Clock_Shadow Smiling Smiling', expected different names of attributes"),
    ],
)
def test_lists_that_cannot_be_used_are_refused(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    root = write_faces(tmp_path / "celeba")
    text = (root / name).read_text()
    assert old in text
    (root / name).write_bytes(text.replace(old, new).encode("latin-1"))
    with pytest.raises(DataError, match=message):
        prepare(root / "img_align_celeba", tmp_path / "out", celeba(root))
    assert not (tmp_path / "out").exists()


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "celeba")
    with pytest.raises(DataError, match=r"absent is not a folder; give the folder with the pictures"):
        prepare(tmp_path / "absent", tmp_path / "out", PrepareConfig())
    with pytest.raises(DataError, match=r"absent.txt cannot be read .*No such file"):
        prepare(root / "img_align_celeba", tmp_path / "out", PrepareConfig(split=Path("absent.txt")))
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match=r"empty.txt, line 1: '', expected different names of attributes"):
        prepare(root / "img_align_celeba", tmp_path / "out", PrepareConfig(attributes=tmp_path / "empty.txt"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"out cannot be written .*; make room, or choose another place"):
        prepare(root / "img_align_celeba", tmp_path / "file" / "out", PrepareConfig())


# --- stops and kills ------------------------------------------------------------------------------------

STUCK = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts what runs in the background without it
from pathlib import Path
from linearizer_datasets import prepare
from linearizer_datasets.config import PrepareConfig

read, root = prepare.read_many, Path(sys.argv[1])

def read_or_wait(paths, **how):
    if paths[0].name == "000121.jpg":
        print("in the middle of it", flush=True)
        time.sleep(100)
    return read(paths, **how)

prepare.read_many = read_or_wait
prepare.prepare(root / "img_align_celeba", Path(sys.argv[2]), PrepareConfig(size=16, crop=140, split=root / "list_eval_partition.txt"))
"""


def started(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


def test_a_kill_leaves_no_folder_and_the_next_run_begins_anew(faces: Path, tmp_path: Path) -> None:
    pictures, config = faces / "img_align_celeba", PrepareConfig(size=16, crop=140, split=faces / SPLIT)
    with started(STUCK, str(faces), str(tmp_path / "out")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle of it\n"
        with pytest.raises(ConfigError, match=r"\.out\.partial is being written by another process; wait for it"):
            prepare(pictures, tmp_path / "out", config)
        process.kill()
    assert [path.name for path in tmp_path.iterdir()] == [".out.partial"]
    prepare(pictures, tmp_path / "out", config)
    prepare(pictures, tmp_path / "unharmed", config)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "unharmed"}
    assert content(tmp_path / "out") == content(tmp_path / "unharmed")


def test_an_interrupt_leaves_nothing(faces: Path, tmp_path: Path) -> None:
    with started(STUCK, str(faces), str(tmp_path / "out")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


ORPHANS = """
import os, time
from linearizer_datasets.prepare import _mapping

with _mapping(2) as mapping:
    print(*mapping(os.getpgid, [0, 0]), flush=True)
    import psutil
    print(*[child.pid for child in psutil.Process().children(recursive=True)], flush=True)
    time.sleep(100)
"""


def test_processes_end_with_a_parent_that_is_killed() -> None:
    with started(ORPHANS) as process:
        assert process.stdout is not None
        process.stdout.readline()
        children = [psutil.Process(int(word)) for word in process.stdout.readline().split()]
        process.kill()
    assert len(children) >= 2
    until = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_process_that_is_killed_is_reported() -> None:
    with pytest.raises(DataError, match="one of 2 processes was killed, as happens when memory runs out; try fewer with --processes"), _mapping(2) as mapping:
        list(mapping(os._exit, [1, 1]))


def test_after_an_error_nothing_more_is_decoded() -> None:
    def fail_at_the_first() -> None:
        with _mapping(2) as mapping:
            for _ in mapping(time.sleep, [0.0] + [1.0] * 2000):  # a quarter of an hour, were they not called off
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_at_the_first()


def test_no_torch_is_imported_where_the_split_is_given(faces: Path, tmp_path: Path) -> None:
    script = STUCK.replace("time.sleep(100)", "pass") + "\nprint('torch' in sys.modules)"
    with started(script, str(faces), str(tmp_path / "out")) as process:
        assert process.communicate()[0].splitlines() == ["in the middle of it", "False"]
    assert torch.from_numpy(np.load(tmp_path / "out" / "test.npy")).shape == (40, 16, 16, 3)
