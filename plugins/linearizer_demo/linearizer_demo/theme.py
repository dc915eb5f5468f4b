"""How the demo looks: colours, type and space. The rest is ``web/style.css``."""

from __future__ import annotations

from gradio.themes import Base, Color, sizes

INK, MUTED, LINE = "#1f2430", "#6b7280", "#3b5bdb"
"""The colours of the figures: text, what matters less, and what matters."""

TOKENS = {
    "page": ("#f6f7f9", "#12141a"),
    "card": ("#ffffff", "#1b1e27"),
    "line": ("#d9dde4", "#333947"),
    "field": ("#868e9c", "#6f7889"),
    "ink": (INK, "#e8eaf0"),
    "muted": ("#5d6573", "#a7aebc"),
    "accent": (LINE, "#91a7ff"),
    "soft": ("#eef1fc", "#232a45"),
    "button": (LINE, "#4263eb"),
    "hover": ("#2f4ac0", "#3b5bdb"),
    "warn": ("#8a3b12", "#ffb38a"),
    "warn-soft": ("#fdf1e9", "#38261d"),
}
"""Each colour in light and in dark; ``--lz-NAME`` in the style sheet."""

_BLUE = Color("#eef1fc", "#dde3fa", "#bac8ff", "#91a7ff", "#748ffc", "#4c6ef5", "#3b5bdb", "#364fc7", "#2b3f9e", "#233382", "#1b2763", name="line")
_GREY = Color("#f6f7f9", "#eceef2", "#d9dde4", "#c0c6d0", "#9ca3af", "#6b7280", "#4b5362", "#363c4a", "#242936", "#1b1e27", "#12141a", name="ink")


def properties() -> str:
    """The colours as properties of a style sheet."""
    light, dark = ("".join(f"--lz-{name}:{pair[side]};" for name, pair in TOKENS.items()) for side in (0, 1))
    return f":root{{{light}}}.dark{{{dark}}}"


def restrained() -> Base:
    """The theme: fonts of the system, one accent, no shadows."""
    system = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "Helvetica Neue", "Arial", "sans-serif")
    theme = Base(
        primary_hue=_BLUE,
        secondary_hue=_BLUE,
        neutral_hue=_GREY,
        radius_size=sizes.radius_md,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=system,
        font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
    )
    theme.name = "linearizer"
    chosen = {
        "body_background_fill": "page",
        "body_text_color": "ink",
        "body_text_color_subdued": "muted",
        "background_fill_primary": "card",
        "background_fill_secondary": "page",
        "border_color_primary": "line",
        "border_color_accent": "accent",
        "color_accent_soft": "soft",
        "link_text_color": "accent",
        "link_text_color_hover": "accent",
        "link_text_color_active": "accent",
        "link_text_color_visited": "accent",
        "block_background_fill": "card",
        "block_border_color": "line",
        "block_label_background_fill": "card",
        "block_label_text_color": "muted",
        "block_title_text_color": "ink",
        "block_info_text_color": "muted",
        "panel_background_fill": "card",
        "input_background_fill": "card",
        "input_background_fill_focus": "card",
        "input_border_color": "field",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "muted",
        "slider_color": "accent",
        "checkbox_background_color": "card",
        "checkbox_background_color_selected": "button",
        "checkbox_border_color": "field",
        "checkbox_border_color_selected": "button",
        "checkbox_label_background_fill": "card",
        "checkbox_label_background_fill_hover": "soft",
        "checkbox_label_background_fill_selected": "soft",
        "checkbox_label_border_color": "line",
        "checkbox_label_text_color": "ink",
        "button_primary_background_fill": "button",
        "button_primary_background_fill_hover": "hover",
        "button_primary_border_color": "button",
        "button_secondary_background_fill": "card",
        "button_secondary_background_fill_hover": "soft",
        "button_secondary_border_color": "field",
        "button_secondary_text_color": "ink",
        "button_secondary_text_color_hover": "ink",
    }
    colours = {name + dark: TOKENS[token][side] for name, token in chosen.items() for side, dark in ((0, ""), (1, "_dark"))}
    return theme.set(
        **colours,
        button_primary_text_color="white",
        button_primary_text_color_dark="white",
        block_border_width="0px",
        block_border_width_dark="0px",
        block_shadow="none",
        block_shadow_dark="none",
        block_label_border_width="0px",
        block_label_border_width_dark="0px",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        block_info_text_size="*text_sm",
        block_padding="0px",
        input_border_width="1px",
        input_border_width_dark="1px",
        input_shadow="none",
        input_shadow_dark="none",
        input_shadow_focus="none",
        input_shadow_focus_dark="none",
        button_border_width="1px",
        button_border_width_dark="1px",
        button_primary_shadow="none",
        button_secondary_shadow="none",
        button_transition="background-color 0.12s",
        button_large_text_weight="600",
        button_medium_text_weight="500",
        layout_gap="20px",
        form_gap_width="0px",
    )
