"""Every tab of the plugins as programs use it: models of the registry, values other than those to begin with, and what comes back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image

from linearizer_core.demo import Picture, Sketch
from linearizer_demo.engine import DemoEngine
from linearizer_demo.images import enlarged, sheet
from linearizer_demo.uploads import read_drawing, read_upload

from .conftest import ROOT

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
MODELS = ["flow.digits", "ign.digits", "style.amber", "dynamics.moving-digit", "dynamics.pendulum"]
PICTURE, DRAWING = Path("picture.jpg"), Path("drawing.png")
ASKED: dict[str, dict[str, Any]] = {
    "one_step": {"model": "flow.digits", "solver": "rk4", "steps": 7, "rank": 8, "label": "3", "temperature": 0.7, "count": 5, "seed": 9},
    "project": {"model": "ign.digits", "sketch": DRAWING, "damage": "noise", "strength": 0.25, "seed": 4},
    "walk": {"model": "flow.digits", "first": PICTURE, "second": 5, "way": "the first minus more and more of the second", "kept": False, "frames": 11},
    "inside": {"model": "flow.digits", "pictures": "drawn by the model", "kept": 3, "number": 2, "seed": 7},
    "styles": {"model": "style.amber", "picture": PICTURE, "styles": {"mosaic": 0.5, "udnie": 0.25}, "strength": 0.7, "side": 96},
    "dynamics": {"model": "dynamics.moving-digit", "frame": "an example by chance", "time": -0.6, "span": 0.5, "seed": 3},
    "orbits": {"model": "dynamics.pendulum", "x1": -0.4, "start": "by chance", "time": 4.2, "back": True, "seed": 2},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    command = [sys.executable, "-m", "linearizer_core.cli", "demo", *MODELS, "--no-open", "--no-hub", "--host", "127.0.0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().split(" at ")[1].split()[0]
            yield Client(address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def here() -> DemoEngine:
    return DemoEngine(MODELS, hub=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    rows, columns = np.meshgrid(np.arange(120), np.arange(160), indexing="ij")
    Image.fromarray(np.stack([rows * 2, columns, 255 - rows], 2).astype(np.uint8)).save(folder / PICTURE)
    stroke = np.zeros((90, 90), np.uint8)
    stroke[20:70, 40:50] = stroke[20:30, 40:70] = 255
    Image.fromarray(stroke).save(folder / DRAWING)
    return folder


def test_every_tab_is_asked(here: DemoEngine) -> None:
    assert set(ASKED) == set(here.tabs)


@pytest.mark.parametrize("name", ASKED)
def test_an_endpoint_gives_what_its_tab_shows(client: Client, here: DemoEngine, folder: Path, name: str) -> None:
    model, values = ASKED[name]["model"], {key: value for key, value in ASKED[name].items() if key != "model"}
    sent = {key: handle_file(folder / value) if isinstance(value, Path) else value for key, value in values.items()}
    *files, numbers, sentence = client.predict(model=model, **sent, api_name=f"/{name}")

    controls = {control.name: control for control in here.controls(name, model)}
    meant = {key: _tensor(controls[key], folder / value) if isinstance(value, Path) else value for key, value in values.items()}
    shown, begun = (here.run(name, model, each).shown for each in (meant, {}))
    outputs = here.tabs[name].outputs()
    assert [Path(file).stem for file in files] == [output.name for output in outputs]
    for output, file in zip(outputs, files, strict=True):
        expected = shown.outputs[output.name]
        opened = Image.open(file)
        if output.kind == "film":
            assert isinstance(expected, torch.Tensor)
            assert (opened.n_frames, opened.height) == (len(expected), enlarged(expected).shape[2])  # type: ignore[attr-defined]
        elif isinstance(expected, torch.Tensor):
            assert _distance(Path(file).read_bytes(), sheet(expected)) < 2  # of 255: another number of threads may round otherwise
        else:
            assert opened.size == _opened(expected).size
    first = outputs[0].name
    given, default = shown.outputs[first], begun.outputs[first]
    assert not (torch.equal(given, default) if isinstance(given, torch.Tensor) and isinstance(default, torch.Tensor) else given == default)
    assert list(numbers) == [*(fact.label for fact in shown.facts), "Time in all"]
    assert all(numbers.values())
    assert sentence


def _tensor(control: Any, path: Path) -> Any:
    assert isinstance(control, Picture | Sketch)
    if isinstance(control, Picture):
        return read_upload(path, control.shape)[0]
    return read_drawing(path, control.shape)


def _opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def _distance(one: bytes, other: bytes) -> float:
    """Mean distance of two pictures of the same size, in steps of 8 bits."""
    first, second = (np.array(_opened(each).convert("RGBA")).astype(float) for each in (one, other))
    assert first.shape == second.shape
    return float(np.abs(first - second).mean())
