"""``linearizer style``: from a short training run to stylised pictures of any size."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from linearizer_core.cli import main
from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model
from linearizer_core.figures.files import read_picture
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.testing.perturb import perturb
from linearizer_style.cli import _weights
from linearizer_style.opened import open_styles

NAMES = ("candy", "udnie")


def style(*arguments: str) -> tuple[int, str, str]:
    """`linearizer style` with these arguments, in this process."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with mock.patch.object(sys, "argv", ["linearizer", "style", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved model whose weights have moved a little from the identity."""
    backbone = Component(name="coupling", levels=[{"couplings": 2, "width": 4}], dense={"couplings": 0}, final_mixing=False)
    config = ModelConfig(task=Component(name="style"), backbone=backbone, core=Component(name="convolution", channels=12))
    info = DataInfo(name="style_pairs", shape=(3, 16, 16), classes=2, class_names=NAMES)
    task, made = build_model(config, info)
    torch.manual_seed(0)
    perturb(made)
    folder = tmp_path_factory.mktemp("model") / "model"
    Pretrained(task, made, ArtifactConfig(model=config, data=info, seed=0)).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rows, columns = np.meshgrid(np.linspace(40, 200, 21), np.linspace(40, 200, 35), indexing="ij")
    Image.fromarray(np.stack([rows, columns, (rows + columns) / 2], axis=2).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_styles_are_listed(model: str) -> None:
    code, out, _ = style("styles", "--model", model)
    assert code == 0
    assert [line.partition(": condition number ")[0] for line in out.splitlines()] == list(NAMES)


def test_a_mix_at_a_strength_of_a_picture_of_any_size(model: str, photo: Path) -> None:
    output = photo.with_name("stylised.png")
    code, out, err = style("apply", str(photo), "--model", model, "--mix", "candy=0.3,udnie=0.7", "--strength", "0.8", "-o", str(output))
    assert (code, out, err) == (0, f"written: {output}\n", "")
    stylised = read_picture(output)
    opened = open_styles(model)
    expected = opened.apply(read_picture(photo), lambda mixer: mixer.mix({"candy": 0.3, "udnie": 0.7}, 0.8))
    assert stylised.shape == (3, 21, 35)
    assert float((stylised - expected).abs().max()) <= 0.51 / 255
    assert float((stylised - read_picture(photo)).abs().mean()) > 0.01


def test_strength_0_gives_the_picture_back(model: str, photo: Path) -> None:
    output = photo.with_name("same.png")
    assert style("apply", str(photo), "-m", model, "--mix", "candy", "--strength", "0", "-o", str(output))[0] == 0
    assert float((read_picture(output) - read_picture(photo)).abs().max()) <= 0.51 / 255


def test_one_after_another_and_undone(model: str, photo: Path) -> None:
    both, one, back = (photo.with_name(name) for name in ("both.png", "one.png", "back.png"))
    assert style("apply", str(photo), "-m", model, "--compose", "candy, udnie", "--size", "16", "-o", str(both))[0] == 0
    assert read_picture(both).shape == (3, 16, 27)
    assert style("apply", str(photo), "-m", model, "--mix", "udnie", "--strength", "0.1", "--size", "16", "-o", str(one))[0] == 0
    assert style("destyle", str(one), "-m", model, "--style", "udnie", "--strength", "0.1", "-o", str(back))[0] == 0
    content = read_picture(photo, 16)[:, 2:-2, 2:-3]  # what was padded at the edges comes back approximately
    assert float((read_picture(back)[:, 2:-2, 2:-3] - content).abs().mean()) < 0.02
    assert float((read_picture(one)[:, 2:-2, 2:-3] - content).abs().mean()) > 2 * float((read_picture(back)[:, 2:-2, 2:-3] - content).abs().mean())


def test_the_sheet(model: str, photo: Path) -> None:
    assert style("sheet", str(photo), "-m", model, "--size", "16", "-o", str(photo.with_name("sheet")))[0] == 0
    assert sorted(path.name for path in photo.with_name("sheet").iterdir()) == ["mixes.png", "strengths.png", "styles.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["apply", "PHOTO"], "give one of --mix and --compose"),
        (["apply", "PHOTO", "--mix", "candy", "--compose", "udnie"], "give one of --mix and --compose"),
        (["apply", "PHOTO", "--mix", "cndy=1"], "no style 'cndy'; did you mean 'candy'?"),
        (["apply", "PHOTO", "--mix", "candy=much"], "'candy=much' in 'candy=much': expected each style once, with a number"),
        (["apply", "absent.png", "--mix", "candy"], "absent.png cannot be read as a picture"),
        (["apply", "PHOTO", "--mix", "candy", "-o", "absent/picture.png"], "absent/picture.png cannot be written"),
    ],
)
def test_mistakes_are_named_in_one_line(model: str, photo: Path, arguments: list[str], message: str) -> None:
    code, out, err = style(*[str(photo) if word == "PHOTO" else word for word in arguments], "-m", model)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_pictures_too_large_and_too_small(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_styles(model)
    with pytest.raises(Exception, match=r"a picture of 9 x 1 pixels, expected at least 2 x 2"):
        opened.fitted(torch.zeros(3, 1, 9))
    monkeypatch.setattr("linearizer_style.opened.LARGEST", 100)
    with pytest.raises(Exception, match=r"a picture of 20 x 10 pixels, expected at most 100 in all; scale it down, on the command line with --size"):
        opened.fitted(torch.zeros(3, 10, 20))


def test_a_model_of_another_task(tmp_path: Path) -> None:
    backbone, core = Component(name="coupling", levels=[], dense={"couplings": 2, "width": 8}), Component(name="low_rank", rank=2, width=4)
    config = ModelConfig(task=Component(name="flow", recipe="published"), backbone=backbone, core=core)
    info = DataInfo(name="points", shape=(6,))
    task, made = build_model(config, info)
    Pretrained(task, made, ArtifactConfig(model=config, data=info, seed=0)).save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="is a model of the task 'flow', expected one of the task 'style'"):
        open_styles(str(tmp_path / "model"))


def test_weights_are_read() -> None:
    assert _weights("candy=0.3, udnie") == {"candy": 0.3, "udnie": 1.0}
    assert _weights("candy=-1") == {"candy": -1.0}
    for text in ("candy=0.3,candy=1", "=1", "candy=nan", ""):
        with pytest.raises(ConfigError, match="expected each style once"):
            _weights(text)
