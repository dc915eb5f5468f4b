"""The demo as programs use it: a server that really runs, and every named endpoint."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image

from linearizer_demo.engine import CALM, DemoEngine

from .conftest import Served

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
ADDRESS = "a picture is expected, not its address; fetch it first, and upload it"


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served.address, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


def ask(client: Client, **values: Any) -> Any:
    return client.predict(**values, api_name="/everything")


def test_only_the_tabs_are_public(client: Client, saved: dict[str, str]) -> None:
    api: Any = client.view_api(return_format="dict", print_info=False)
    assert set(api["named_endpoints"]) == {"/everything"} | {f"/{name}" for name in DemoEngine(list(saved.values())).tabs}
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


def test_files_of_the_server_stay_there(served: Served, saved: dict[str, str], tmp_path: Path) -> None:
    """What the page itself sends may name uploads only; what it is served, its own files only."""
    Image.new("RGB", (30, 20)).save(tmp_path / "real.png")
    inside = {"path": str(tmp_path / "real.png"), "meta": {"_type": "gradio.FileData"}}
    answer = httpx.post(f"{served.address}gradio_api/call/everything", json={"data": [saved["first"], None, None, None, None, None, None, inside, None]})
    told = httpx.get(f"{served.address}gradio_api/call/everything/{answer.json()['event_id']}").text
    assert "it was not uploaded by a user" in told
    for path in ("/etc/hostname", str(Path(__file__))):
        assert httpx.get(f"{served.address}gradio_api/file={path}").status_code in (403, 404)


class Browser:
    """What the page sends: events by their numbers, within a session, the inputs of one tab in order."""

    def __init__(self, address: str, tab: str) -> None:
        self.address, self.session = f"{address}gradio_api/", uuid4().hex
        config = httpx.get(f"{address}config").json()
        labels = {each["id"]: each["props"].get("label") for each in config["components"]}
        events = [each for each in config["dependencies"] if each["api_name"] != tab and "Strength" in [labels[i] for i in (*each["inputs"], *each["outputs"])]]
        self.choose, self.run = (next(each for each in events if (len(each["inputs"]) == 1) == single) for single in (True, False))
        self.labels = [labels[each] for each in self.run["inputs"]]

    def send(self, event: dict[str, Any], data: list[Any]) -> dict[str, Any]:
        asked = httpx.post(f"{self.address}queue/join", json={"data": data, "fn_index": event["id"], "session_hash": self.session})
        asked.raise_for_status()
        with httpx.stream("GET", f"{self.address}queue/data", params={"session_hash": self.session}, timeout=60) as told:
            messages = (json.loads(line.removeprefix("data: ")) for line in told.iter_lines() if line)
            found: dict[str, Any] = next(each for each in messages if each["msg"] == "process_completed")
        return found


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """The address of a picture on another server, and what that server was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def parse_request(self) -> bool:
            asked.append(self.requestline)
            return False

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/x.png", asked
        server.shutdown()


@pytest.mark.parametrize("place", ["Model", "Strength", "Picture", "Drawing", "nested"])
@pytest.mark.parametrize("after_another_model", [False, True])
def test_the_page_lets_the_server_fetch_nothing(
    served: Served, saved: dict[str, str], elsewhere: tuple[str, list[str]], place: str, after_another_model: bool
) -> None:
    address, asked = elsewhere
    browser = Browser(served.address, "everything")
    if after_another_model:  # the session then has components of its own
        assert browser.send(browser.choose, [saved["colour"]])["success"]
    for url in (address, "https://203.0.113.7/x.png"):  # an address that Gradio alone would refuse, and one that it would fetch
        file: Any = {"path": url, "meta": {"_type": "gradio.FileData"}}
        data: list[Any] = [saved["first"], *[None] * (len(browser.labels) - 1)]
        data[1 if place == "nested" else browser.labels.index(place)] = {"a": [{"b": file}]} if place == "nested" else file
        answer = browser.send(browser.run, data)
        assert not answer["success"]
        assert answer["output"]["error"] == ADDRESS
    assert not asked


@pytest.mark.parametrize("place", ["model", "strength", "parts", "picture", "drawing"])
def test_endpoints_let_the_server_fetch_nothing(client: Client, elsewhere: tuple[str, list[str]], place: str) -> None:
    address, asked = elsewhere
    for url in (address, "https://203.0.113.7/x.png"):
        with pytest.raises(Exception, match=ADDRESS):
            ask(client, **{place: {"path": url, "meta": {"_type": "gradio.FileData"}}})
    assert not asked


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


def test_every_endpoint_answers_with_what_it_begins_with(client: Client, saved: dict[str, str]) -> None:
    """The tabs of the plugins, as far as a small flow can serve them."""
    engine = DemoEngine(list(saved.values()))
    for name, tab in engine.tabs.items():
        *files, numbers, sentence = client.predict(api_name=f"/{name}")
        assert len(files) == len(tab.outputs())
        assert all(Image.open(each).size for each in files)
        assert "Time in all" in numbers
        assert sentence
