"""The demo as programs use it: a server that really runs, and every named endpoint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from linearizer_core import plugins
from linearizer_demo.engine import CALM, DemoEngine

from .conftest import Served

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served.address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def ask(client: Client, **values: Any) -> Any:
    return client.predict(**values, api_name="/everything")


def test_only_the_tabs_are_public(client: Client) -> None:
    api: Any = client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == {"/everything"} | {f"/{name}" for name in plugins.specs("tab")}
    assert not api["unnamed_endpoints"]
    endpoint = api["named_endpoints"]["/everything"]
    names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
    assert names == ["model", "count", "strength", "seed", "mood", "upside_down", "parts", "picture", "drawing"]
    assert all(parameter["parameter_has_default"] for parameter in endpoint["parameters"])
    assert [each["label"] for each in endpoint["returns"]] == ["samples", "given", "change", "curve", "numbers", "sentence"]
    assert "Set *anything*" in endpoint["description"]


def test_a_result(client: Client) -> None:
    samples, given, change, curve, numbers, sentence = ask(client)
    assert [Path(each).name for each in (samples, given, change, curve)] == ["samples.png", "given.png", "change.webp", "curve.png"]
    assert Image.open(samples).height == 128
    assert Image.open(change).n_frames == 5  # type: ignore[attr-defined]
    assert set(numbers) == {"Sum", "Weights", "Time in all"}
    assert sentence == "Mood `calm`, <i>as it is</i>."


def test_arguments_reach_the_tab(client: Client, engine: DemoEngine, saved: dict[str, str]) -> None:
    values = {"count": 2, "seed": 3, "strength": 0.5, "parts": {"two": 0.25}, "mood": "loud"}
    *_, numbers, sentence = ask(client, model=saved["second"], **values)
    expected = engine.run("everything", saved["second"], values).shown
    assert numbers["Sum"] == expected.facts[0].value
    assert numbers["Weights"] == "one 0 two 0.25"
    assert sentence == expected.sentence


def test_pictures_and_drawings(client: Client, saved: dict[str, str], tmp_path: Path) -> None:
    stroke = np.zeros((50, 50), np.uint8)
    stroke[10:40, 20:30] = 255
    Image.fromarray(stroke).save(tmp_path / "stroke.png")
    Image.new("CMYK", (30, 20), (0, 0, 0, 0)).save(tmp_path / "white.jpg")
    _, given, *_ = ask(client, picture=handle_file(tmp_path / "white.jpg"), drawing=handle_file(tmp_path / "stroke.png"))
    pixels = np.array(Image.open(given).convert("LA"))
    white, stroke = pixels[:, :128, 0], pixels[:, -128:, 0]
    assert white.min() > 250
    assert stroke.max() == 255
    assert stroke.min() == 0
    one, other = (np.array(Image.open(ask(client, picture=number)[1])) for number in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"seed": -1}, "seed = -1"),
        ({"count": "7"}, "count = '7'"),
        ({"parts": [3]}, "a number for each name"),
        ({"model": "/etc"}, "there is no model '/etc' here"),
        ({"model": None}, "there is no model"),
        ({"mood": "loud", "strength": 0}, "strength = 0 is not loud <b>; raise it"),
        ({"seed": 13}, CALM),
        ({"picture": 99}, "the number of an example"),
        ({"picture": {"path": "/etc/hostname"}}, "expected a picture file"),
        ({"picture": {"path": "http://127.0.0.1/x.png", "meta": {"_type": "gradio.FileData"}}}, "not its address"),
    ],
)
def test_mistakes_are_told(client: Client, values: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        ask(client, **values)
    assert words in str(caught.value)


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"not a picture", "cannot be read as a picture"), (bytes(11 * 2**20), "")])
def test_hostile_uploads_are_told(client: Client, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "upload.png").write_bytes(content)
    with pytest.raises(Exception, match=words or r"."):
        ask(client, picture=handle_file(tmp_path / "upload.png"))


def test_files_of_the_server_stay_there(served: Served) -> None:
    """What the page itself sends may name uploads only; what it is served, its own files only."""
    inside = {"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}
    answer = httpx.post(f"{served.address}gradio_api/call/everything", json={"data": ["x", None, None, None, None, None, None, inside, None]})
    told = httpx.get(f"{served.address}gradio_api/call/everything/{answer.json()['event_id']}").text
    assert "error" in told
    for path in ("/etc/hostname", str(Path(__file__))):
        assert httpx.get(f"{served.address}gradio_api/file={path}").status_code in (403, 404)


def test_sessions_with_different_models_do_not_mix(served: Served, engine: DemoEngine, saved: dict[str, str]) -> None:
    expected = {(model, seed): engine.run("everything", model, {"seed": seed}).shown.facts[0].value for model in saved.values() for seed in range(2)}
    assert len(set(expected.values())) == len(expected)

    def visit(number: int) -> bool:
        own = Client(served.address, verbose=False, download_files=False)
        asked = [*expected][number % len(expected) :] + [*expected][: number % len(expected)]
        return all(ask(own, model=model, seed=seed)[-2]["Sum"] == expected[model, seed] for model, seed in asked)

    with ThreadPoolExecutor(8) as visitors:
        assert all(visitors.map(visit, range(8)))


def test_the_page_needs_nothing_from_elsewhere(served: Served) -> None:
    page = httpx.get(served.address).text
    for line in page.splitlines():
        if ("<script" in line and "src=" in line) or "<link" in line:
            assert "http" not in line, line
    assert '"analytics_enabled": false' in page or '"analytics_enabled":false' in page
