"""The tabs of the registry, used as visitors do: drawing, uploading, going through time, choosing pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from .conftest import Visit, Visitor
from .test_page import tabs

pytestmark = pytest.mark.browser


def _open(visitor: Visitor, registry: str, name: str) -> tuple[Visit, Any]:
    """The tab of that name, and a function that finds its results by what is said of them."""
    visit = visitor.open(registry)
    tabs(visit).filter(has_text=name).click()
    visit.wait()
    return visit, lambda label: [each.get_attribute("src") for each in visit.panel().locator("figure").filter(has_text=label).locator("img").all()]


def test_a_drawing_is_projected(visitor: Visitor, registry: str) -> None:
    visit, shown = _open(visitor, registry, "Draw and project")
    page = visit.page
    canvas = page.locator("canvas:visible")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def stroke() -> None:
        page.mouse.move(box["x"] + 140, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + 140, box["y"] + 240, steps=8)
        page.mouse.up()

    before = shown("Given")
    visit.changes(stroke)
    assert shown("Given") != before
    visit.changes(lambda: page.get_by_role("radio", name="blur").check())
    one = shown("Given")
    visit.changes(page.get_by_role("button", name="Clear").locator("visible=true").click)
    assert shown("Given") not in (one, [])
    assert "Largest change of a pixel, second time" in visit.facts().inner_text()


def test_a_picture_of_ones_own_is_stylised(visitor: Visitor, registry: str) -> None:
    visit, shown = _open(visitor, registry, "Styles")
    file = io.BytesIO()
    rows, columns = np.meshgrid(np.arange(90), np.arange(120), indexing="ij")
    Image.fromarray(np.stack([rows * 2, columns * 2, 255 - rows], 2).astype(np.uint8)).save(file, format="png")
    before = shown("Given"), shown("In style")
    visit.changes(
        lambda: visit.page.locator("input[type=file]:visible").set_input_files({"name": "own.png", "mimeType": "image/png", "buffer": file.getvalue()})
    )
    own = shown("Given"), shown("In style")
    assert all(one != other for one, other in zip(before, own, strict=True))
    visit.changes(lambda: visit.page.get_by_label("range slider for mosaic").fill("0.6"))
    assert shown("Given") == own[0]
    assert shown("In style") != own[1]


def test_time_goes_both_ways(visitor: Visitor, registry: str) -> None:
    visit, shown = _open(visitor, registry, "Dynamics")
    time = visit.page.get_by_label("range slider for Time").locator("visible=true")
    found = [shown("At time 0")]
    for place in ("max", "min"):
        visit.changes(lambda place=place: time.fill(time.get_attribute(place)))
        found.append(shown("At time 0"))
    assert len({frames[0] for frames in found}) == 1
    assert len({frames[1] for frames in found}) == 3


def test_the_way_goes_to_another_picture(visitor: Visitor, registry: str) -> None:
    visit, shown = _open(visitor, registry, "Walk the space")
    before = shown("In pixels")
    second = visit.page.get_by_role("radiogroup", name="Second picture").get_by_role("radio")
    visit.changes(second.nth(3).click)
    after = shown("In pixels")
    assert before[0] == after[0]
    assert before[-1] != after[-1]
    visit.changes(lambda: visit.page.keyboard.press("ArrowRight"))
    assert shown("In pixels")[-1] not in (before[-1], after[-1])
    assert second.nth(4).get_attribute("aria-checked") == "true"


def test_an_orbit_begins_elsewhere(visitor: Visitor, registry: str) -> None:
    visit, shown = _open(visitor, registry, "Orbits")
    before = shown("The orbit")
    visit.changes(lambda: visit.page.get_by_label("range slider for x1").locator("visible=true").fill("-0.5"))
    assert shown("The orbit") != before
