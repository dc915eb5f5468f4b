"""Every kind of control, used as a visitor does."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from ..plugins.demo.conftest import Served  # noqa: TID252
from .conftest import PATIENCE, Visit, Visitor

pytestmark = pytest.mark.browser


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, format="png")
    return file.getvalue()


def _tab(visit: Visit) -> Any:
    visit.page.get_by_role("tab", name="Everything").click()
    visit.wait()
    return visit.page


def test_setting_anything_shows_something_else(everything: Visit) -> None:
    page = _tab(everything)
    count = page.get_by_label("number input for Count").locator("visible=true")
    everything.changes(lambda: count.fill("2"))
    everything.changes(lambda: page.get_by_label("range slider for Strength").locator("visible=true").fill("0.5"))
    everything.changes(lambda: page.get_by_label("loud").check())
    everything.changes(lambda: page.get_by_label("Upside down").check())
    everything.changes(lambda: page.get_by_label("range slider for two").fill("0.5"))
    everything.changes(lambda: page.get_by_role("spinbutton", name="Seed").locator("visible=true").fill("7"))
    everything.changes(page.get_by_role("button", name="New seed").locator("visible=true").click)
    assert "two 0.5" in everything.facts().inner_text()


def test_examples_are_chosen_by_pointer_and_by_key(everything: Visit) -> None:
    page = _tab(everything)
    group = page.get_by_role("radiogroup", name="Picture")
    examples = group.get_by_role("radio")
    assert examples.count() == 8
    assert examples.nth(0).get_attribute("aria-checked") == "true"
    everything.changes(examples.nth(3).click)
    everything.changes(lambda: page.keyboard.press("ArrowRight"))
    assert group.locator("[aria-checked=true]").get_attribute("aria-label") == "Example 5 of 8"


def test_a_picture_of_ones_own(everything: Visit) -> None:
    page = _tab(everything)
    file = page.locator("input[type=file]:visible")
    everything.changes(lambda: file.set_input_files({"name": "white.png", "mimeType": "image/png", "buffer": _png(30, 20)}))
    assert "Your picture: white.png" in page.locator(".lz-told:visible").inner_text()
    own = page.get_by_role("radio", name="Your picture")
    assert own.get_attribute("aria-checked") == "true"
    everything.changes(page.get_by_role("radio", name="Example 1 of 8").click)
    everything.changes(own.click)


@pytest.mark.parametrize(("content", "words"), [(_png(20_000, 40), "20,000 x 40 pixels"), (b"no picture", "cannot be read as a picture")])
def test_a_file_that_cannot_be_used_gives_a_message(everything: Visit, content: bytes, words: str) -> None:
    page = _tab(everything)
    page.locator("input[type=file]:visible").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": content})
    alert = page.get_by_role("alert").locator("visible=true")
    alert.wait_for(timeout=PATIENCE)
    assert words in alert.inner_text()
    everything.changes(page.get_by_role("radio", name="Example 2 of 8").click)


@pytest.mark.parametrize(("size", "words"), [(0, "This file is empty"), (11 * 2**20, "This file has 11 MB")])
def test_a_file_that_need_not_be_sent(everything: Visit, size: int, words: str) -> None:
    page = _tab(everything)
    page.locator("input[type=file]:visible").set_input_files({"name": "x.png", "mimeType": "image/png", "buffer": bytes(size)})
    page.locator(".lz-told:visible", has_text=words).wait_for(timeout=PATIENCE)


@pytest.mark.parametrize("look", ["desktop-light", "phone-dark"])
def test_drawing(visitor: Visitor, served: Served, look: str) -> None:
    visit = visitor.open(served.address, look)
    page = _tab(visit)
    canvas = page.locator("canvas:visible")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def stroke() -> None:
        page.mouse.move(box["x"] + 60, box["y"] + 60)
        page.mouse.down()
        page.mouse.move(box["x"] + 60, box["y"] + 180, steps=8)
        page.mouse.move(box["x"] + 150, box["y"] + 180, steps=8)
        page.mouse.up()

    given = visit.panel().get_by_role("img", name="Given").locator("img")
    assert given.count() == 1
    visit.changes(stroke)
    assert given.count() == 2
    visit.shot("drawing")
    visit.changes(page.get_by_role("button", name="Clear").click)
    assert given.count() == 1


def test_drawing_with_keys(everything: Visit) -> None:
    page = _tab(everything)
    given = everything.panel().get_by_role("img", name="Given").locator("img")
    page.get_by_role("application", name="Drawing").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.locator(".lz-mark:visible").count() == 1

    def stroke() -> None:
        page.keyboard.press(" ")
        for key in ["ArrowDown"] * 8 + ["ArrowRight"] * 5:
            page.keyboard.press(key)
        page.keyboard.press(" ")

    everything.changes(stroke)
    assert given.count() == 2
    everything.changes(lambda: page.get_by_role("button", name="Undo").click())
    assert given.count() == 1


def test_a_film_is_paused(everything: Visit) -> None:
    page = _tab(everything)
    film = everything.panel().locator(".lz-film img")
    assert film.get_attribute("src").startswith("data:image/webp")
    page.get_by_role("button", name="Play or pause").click()
    assert film.get_attribute("src").startswith("data:image/png")
    page.get_by_role("button", name="Play or pause").click()
    assert film.get_attribute("src").startswith("data:image/webp")


def test_less_motion_is_a_still_picture(visitor: Visitor, served: Served) -> None:
    visit = visitor.open(served.address, reduced_motion="reduce")
    _tab(visit)
    assert visit.panel().locator(".lz-film img").evaluate("each => each.currentSrc").startswith("data:image/png")


def test_another_model_has_other_controls(everything: Visit, saved: dict[str, str]) -> None:
    page = _tab(everything)
    assert page.get_by_label("range slider for three").count() == 0
    model = page.get_by_label("Model").locator("visible=true")
    model.click()
    everything.changes(page.get_by_role("option").filter(has_text=saved["colour"]).click)
    page.get_by_label("range slider for three").wait_for(timeout=PATIENCE)
    assert page.get_by_role("radiogroup", name="Picture").get_by_role("radio").count() == 0


def test_visitors_do_not_see_each_other(visitor: Visitor, served: Served, saved: dict[str, str]) -> None:
    one, other = visitor.open(served.address), visitor.open(served.address)
    for visit in (one, other):
        _tab(visit)
    model = other.page.get_by_label("Model").locator("visible=true")
    model.click()
    other.changes(other.page.get_by_role("option").filter(has_text=saved["second"]).click)
    here, there = (visit.facts().inner_text().split("Time")[0] for visit in (one, other))
    assert here != there
    one.page.get_by_role("button", name="Run").locator("visible=true").click()
    one.wait()
    assert one.facts().inner_text().split("Time")[0] == here


def test_an_error_is_told_in_place(everything: Visit) -> None:
    page = _tab(everything)
    page.get_by_role("spinbutton", name="Seed").locator("visible=true").fill("13")
    alert = page.get_by_role("alert").locator("visible=true")
    alert.wait_for(timeout=PATIENCE)
    assert "the fault is ours" in alert.inner_text()
    assert "secret" not in page.content()
