"""Markdown from the templates of this package, and text from elsewhere as Markdown that shows it and does nothing else."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["code", "escape", "fence", "figure", "render", "scalar", "sentence"]

_SPECIAL = re.compile(r"([\\`*{}\[\]<>|~#&$!@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")  # _ within a word is no markup
_LINKED = re.compile(r"://|(?<=www)\.", re.IGNORECASE)
_PLAIN_CODE = re.compile(r"[\w.,:;/=+() ^-]+", re.ASCII)
_BACKTICKS = re.compile(r"`+")


def render(template: str, **values: Any) -> str:
    """The template of this name with ``values``; a value that is missing is an error. All functions of this module are filters."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("linearizer_core"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    made.filters |= {"code": code, "escape": escape, "fence": fence, "figure": figure, "scalar": scalar, "sentence": sentence}
    return made


def escape(text: str) -> str:
    r"""Text of any origin on one line that Markdown shows as it is: no markup, no HTML, no link, no cell that ends early, nothing invisible.

    Example:
        >>> print(escape("a|b <b> [x](http://y)"))
        a\|b \<b\> \[x\](http\://y)
    """
    return _LINKED.sub(lambda found: "\\" + found[0], _SPECIAL.sub(r"\\\1", _visible(text)))


def code(text: str) -> str:
    """A name as code, or escaped where it has other characters than names have.

    Example:
        >>> code("psnr_db"), code("a`b")
        ('`psnr_db`', 'a\\\\`b')
    """
    return f"`{text}`" if _PLAIN_CODE.fullmatch(text) else escape(text)


def fence(text: str, language: str = "") -> str:
    """Lines of code as a block that they cannot end."""
    lines = "\n".join(map(_visible_in_line, text.rstrip("\n").split("\n")))
    marks = "`" * max(3, 1 + max((len(found) for found in _BACKTICKS.findall(lines)), default=0))
    return f"{marks}{language}\n{lines}\n{marks}"


def figure(value: object) -> str:
    """A number in four digits, text escaped, and a dash for None.

    Example:
        >>> figure(0.123456), figure(12), figure("a|b"), figure(None)
        ('0.1235', '12', 'a\\\\|b', '-')
    """
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def scalar(value: str | int | float) -> str:
    """A value as YAML on one line, the same for versions 1.1 and 1.2.

    Example:
        >>> scalar('say "hi"'), scalar(1e-06), scalar(True), scalar(3)
        ('"say \\\\"hi\\\\""', '1.0e-06', 'true', '3')
    """
    if isinstance(value, str):
        return json.dumps(_visible(value), ensure_ascii=False)
    text = json.dumps(value, allow_nan=False)
    # Without a point YAML 1.1 takes 1e-06 for text.
    return text.replace("e", ".0e") if isinstance(value, float) and math.isfinite(value) and "e" in text and "." not in text else text


def sentence(text: str) -> str:
    """A summary with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _visible(text: str) -> str:
    return " ".join(_visible_in_line(text).split())


def _visible_in_line(text: str) -> str:
    # Neither ends of lines nor marks that reverse the direction of what follows.
    return "".join(letter if letter.isprintable() else " " for letter in text)
