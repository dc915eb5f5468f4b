"""The colours of the page can be told apart: WCAG 2.2, level AA, in light and in dark."""

from __future__ import annotations

import re

import pytest

from linearizer_demo.parts import web
from linearizer_demo.theme import TOKENS, properties, restrained

TEXT = [("ink", "page"), ("ink", "card"), ("muted", "page"), ("muted", "card"), ("accent", "page"), ("accent", "card"), ("accent", "soft"), ("ink", "soft")]
TEXT += [("ink", "warn-soft"), ("warn", "warn-soft")]
EDGES = [("field", "card"), ("accent", "card"), ("button", "card")]


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(first: str, second: str) -> float:
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
def test_contrast(side: int) -> None:
    for first, second in TEXT:
        assert _contrast(TOKENS[first][side], TOKENS[second][side]) >= 4.5, (first, second)
    for first, second in EDGES:
        assert _contrast(TOKENS[first][side], TOKENS[second][side]) >= 3, (first, second)
    for button in ("button", "hover"):
        assert _contrast(TOKENS[button][side], "#ffffff") >= 4.5


def test_every_colour_of_the_style_sheet_is_one_of_them() -> None:
    used = set(re.findall(r"var\(--lz-([\w-]+)\)", web("style.css")))
    assert used <= TOKENS.keys()
    assert all(f"--lz-{name}:" in properties() for name in used)


def test_fonts_are_those_of_the_system() -> None:
    theme = restrained()
    assert not theme._stylesheets
    assert "@font-face" not in theme._get_theme_css()
