"""Every tab of the registry in a browser: it shows something, it can be used, and it looks and reads as it should."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from .conftest import LOOKS, ROOT, Visit, Visitor

pytestmark = pytest.mark.browser
_ASSETS = ROOT / "docs" / "assets"
_SHOWN = {
    ("One step vs many", "desktop-light"): "demo_one_step.png",
    ("Draw and project", "phone-dark"): "demo_project_phone.png",
    ("Walk the space", "desktop-light"): "demo_walk.png",
    ("Look inside", "desktop-dark"): "demo_inside_dark.png",
    ("Styles", "phone-light"): "demo_styles_phone.png",
    ("Dynamics", "desktop-light"): "demo_dynamics.png",
}
"""The screenshots of the documentation."""
_LARGEST = 300_000

UNNAMED = """() => [...document.querySelectorAll('input, button, select, textarea, canvas, a, [role=img], [role=radiogroup]')]
  .filter(each => each.offsetParent && !each.closest('[aria-hidden=true]'))
  .filter(each => !(each.getAttribute('aria-label') || each.title || each.innerText?.trim()
    || [...(each.labels || [])].some(label => label.innerText.trim() || label.getAttribute('aria-label'))))
  .map(each => each.outerHTML.slice(0, 200))"""
WITHOUT_ALT = "() => [...document.querySelectorAll('img')].filter(each => !each.hasAttribute('alt')).map(each => each.outerHTML.slice(0, 100))"
HEADINGS = "() => [...document.querySelectorAll('h1, h2, h3, h4')].filter(each => each.offsetParent).map(each => Number(each.tagName[1]))"
WIDTHS = "() => [document.documentElement.scrollWidth, window.innerWidth]"


def tabs(visit: Visit) -> Any:
    """The buttons of all tabs that can be pressed. On a phone the chosen one moves to the front."""
    return visit.page.locator(".lz-tabs > .tab-wrapper [role=tab]:visible, .lz-tabs > .tab-wrapper .overflow-dropdown > button:visible")


@pytest.mark.parametrize("look", LOOKS)
def test_every_tab(visitor: Visitor, registry: str, look: str, request: pytest.FixtureRequest) -> None:
    visit = visitor.open(registry, look)
    names = [tab.inner_text().strip() for tab in tabs(visit).all()]
    assert names
    for number, name in enumerate(names):
        tabs(visit).filter(has_text=name).click()
        visit.wait()
        visit.page.wait_for_timeout(200)
        width, window = visit.page.evaluate(WIDTHS)
        assert width <= window, f"{name} is {width} pixels wide"
        assert visit.panel().locator("figure").count()
        assert "Time in all" in visit.facts().inner_text()
        assert visit.page.evaluate(UNNAMED) == []
        assert visit.page.evaluate(WITHOUT_ALT) == []
        visit.shot(f"{number}-{name.lower().replace(' ', '-')}")
        if request.config.getoption("--update-docs") and (name, look) in _SHOWN:
            target = _ASSETS / _SHOWN[name, look]
            visit.page.evaluate("() => window.scrollTo(0, 0)")
            visit.page.screenshot(path=target, full_page=look.startswith("desktop"))
            assert target.stat().st_size < _LARGEST, target
        dice = visit.page.get_by_role("button", name="New seed").locator("visible=true")
        if dice.count():
            dice.first.click()
            visit.wait()
        visit.page.get_by_role("button", name="Run").locator("visible=true").click()
        visit.wait()


def test_the_page_reads_in_order(visitor: Visitor, registry: str) -> None:
    page = visitor.open(registry).page
    assert page.title() == "Linearizer"
    assert page.locator("html").get_attribute("lang") == "en"
    levels = page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert page.locator(".lz-said:visible").get_attribute("aria-live") == "polite"


def test_the_keyboard_is_enough(visitor: Visitor, registry: str) -> None:
    visit = visitor.open(registry)
    page = visit.page
    page.locator("[role=tab]:visible").first.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")  # a browser shows the focus to those who use keys
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    order = []
    for _ in range(40):
        page.keyboard.press("Tab")
        order.append(
            page.evaluate(
                "() => (document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || document.activeElement.type || '').trim()"
            )
        )
        if order[-1] == "Run":
            break
    assert order[-1] == "Run"
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    visit.wait()
    page.locator("input[type=range]:visible").first.focus()
    visit.changes(lambda: page.keyboard.press("ArrowLeft"))


def test_another_model(visitor: Visitor, registry: str) -> None:
    visit = visitor.open(registry)
    model = visit.page.get_by_label("Model").locator("visible=true").first
    first = model.input_value()
    model.click()
    options = visit.page.get_by_role("option")
    others = [each.inner_text().split()[-1] for each in options.all()]
    other = next(each for each in others if each != first)
    visit.changes(visit.page.get_by_role("option", name=other, exact=True).click)
    assert model.input_value() == other


def test_a_model_that_is_not_there_is_one_message(visitor: Visitor, registry: str) -> None:
    visit = visitor.open(registry)
    model = visit.page.get_by_label("Model").locator("visible=true").first
    model.fill("/etc/passwd")
    model.press("Enter")
    alert = visit.page.get_by_role("alert").locator("visible=true").first
    alert.wait_for()
    assert "there is no model '/etc/passwd' here" in alert.inner_text().replace("There", "there")
