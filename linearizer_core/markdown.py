"""Markdown from the templates of this package."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **values: Any) -> str:
    """The template of this name with ``values``; a value that is missing is an error. The filter ``figure`` writes a number, or text that fits a table."""
    environment = Environment(
        loader=PackageLoader("linearizer_core"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["figure"] = _figure
    return environment.get_template(template).render(**values)


def _figure(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")
