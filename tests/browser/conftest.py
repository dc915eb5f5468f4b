"""A real browser, and two demos to visit: that of the registry, and one whose tab has every kind of control."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ..plugins.demo.conftest import ROOT, Served, saved, served  # noqa: TID252

__all__ = ["saved", "served"]
SHOTS = ROOT / "runs" / "browser"
PATIENCE = 30_000
LOOKS = {
    "desktop-light": ((1280, 900), "light"),
    "desktop-dark": ((1280, 900), "dark"),
    "phone-light": ((390, 844), "light"),
    "phone-dark": ((390, 844), "dark"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-docs", action="store_true", help="copy some screenshots into docs/assets")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The address of ``linearizer demo``, as users start it."""
    command = [sys.executable, "-m", "linearizer_core.cli", "demo", "--no-open", "--host", "127.0.0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" at ")[1].split()[0]
        finally:
            process.terminate()


@dataclass
class Visit:
    """A page that was opened, and what went wrong on it."""

    page: Any
    address: str
    name: str
    complaints: list[str] = field(default_factory=list)

    def panel(self) -> Any:
        """The result that is in sight."""
        return self.page.locator(".lz-panel:visible")

    def facts(self) -> Any:
        return self.panel().locator(".lz-facts")

    def wait(self) -> None:
        """Until the tab in sight shows a result, and nothing is under way."""
        self.facts().first.wait_for(timeout=PATIENCE)
        self.page.wait_for_function("() => !document.querySelector('.lz-panel .pending')", timeout=PATIENCE)

    def changes(self, act: Any) -> None:
        """Do something that must change the result in sight."""
        before = self.panel().first.inner_html()
        act()
        self.page.wait_for_function(
            "before => [...document.querySelectorAll('.lz-panel')].some(each => each.offsetParent && each.innerHTML !== before)", arg=before, timeout=PATIENCE
        )
        self.wait()

    def shot(self, what: str) -> Path:
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{what}-{self.name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path


class Visitor:
    """Opens pages, and watches them."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self.visits: list[Visit] = []

    def open(self, address: str, look: str = "desktop-light", **options: Any) -> Visit:
        (width, height), scheme = LOOKS[look]
        context = self._browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=look.startswith("phone"), **options)
        page = context.new_page()
        visit = Visit(page, address, look)
        page.on("console", lambda told: visit.complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith((address, "data:", "blob:")) else visit.complaints.append(f"asked for {asked.url}"))
        page.goto(address)
        visit.wait()
        self.visits.append(visit)
        return visit


@pytest.fixture
def visitor(browser: Any) -> Iterator[Visitor]:
    made = Visitor(browser)
    yield made
    for visit in made.visits:
        visit.page.context.close()
        assert visit.complaints == []


@pytest.fixture
def everything(visitor: Visitor, served: Served) -> Visit:
    """The demo with the tab that has every kind of control."""
    return visitor.open(served.address)
