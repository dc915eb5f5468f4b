"""The result of a tab as HTML: pictures, figures and films that need no other file, numbers, and a sentence. All text is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

from torch import Tensor

from linearizer_core.demo import Fact, Output
from linearizer_demo.engine import Result
from linearizer_demo.images import columns_of, crisp, film, png

_TALLEST = {1: 280, 2: 240, 3: 220, 4: 200}
"""CSS pixels of an image where few stand side by side."""
_SMALL = 104


def seconds_fact(result: Result) -> Fact:
    """The time of the whole action."""
    return Fact("Time in all", f"{result.seconds:.2f} s" if result.seconds >= 0.1 else f"{1000 * result.seconds:.0f} ms")


def draw(outputs: Sequence[Output], result: Result, note: str = "") -> str:
    """What a visitor sees."""
    shown = result.shown
    figures = "".join(_figure(output, shown.outputs[output.name]) for output in outputs)
    numbers = "".join(f"<div><dt>{escape(fact.label)}</dt><dd>{escape(fact.value)}</dd></div>" for fact in [*shown.facts, seconds_fact(result)])
    said = "".join(f"<p>{_sentence(text)}</p>" for text in (note, shown.sentence) if text)
    return f'<div class="lz-figures">{figures}</div><div class="lz-said" aria-live="polite">{said}<dl class="lz-facts">{numbers}</dl></div>'


def complain(message: str) -> str:
    """What a visitor reads when it did not work."""
    text = message[:1].upper() + message[1:]
    return f'<div class="lz-alert" role="alert"><strong>This does not work yet.</strong><p>{_sentence(text)}</p></div>'


def waiting() -> str:
    """What stands there before there is a result."""
    return '<p class="lz-waiting">The first result comes at once.</p>'


def data_url(content: bytes, kind: str = "png") -> str:
    """A file as the address of itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _figure(output: Output, content: Tensor | bytes) -> str:
    alt = escape(output.description or output.label)
    caption = f"<figcaption>{escape(output.label)}</figcaption>"
    if isinstance(content, bytes):
        return f'<figure class="lz-plot">{caption}<img src="{data_url(content)}" alt="{alt}"></figure>'
    if output.kind == "film":
        return f'<figure class="lz-wide-0">{caption}{_film(content, alt)}</figure>'
    count = len(content)
    width = _TALLEST.get(count, _SMALL)
    columns, narrow = columns_of(count, 12), columns_of(count, 6)
    tiles = "".join(f'<img src="{data_url(png(image))}" alt="">' for image in content)
    style = f"--columns:{columns};--narrow:{narrow};--tile:{width}px"
    look = "lz-tiles lz-crisp" if crisp(content) else "lz-tiles"
    size = "lz-single" if count == 1 else f"lz-wide-{int(count > 4)}"
    return f'<figure class="{size}">{caption}<div class="{look}" role="img" aria-label="{alt}" style="{style}">{tiles}</div></figure>'


def _film(frames: Tensor, alt: str) -> str:
    moving, still = data_url(film(frames), "webp"), data_url(png(frames[0]))
    look = "lz-film lz-crisp" if crisp(frames) else "lz-film"
    return (
        f'<div class="{look}"><picture><source media="(prefers-reduced-motion: reduce)" srcset="{still}">'
        f'<img src="{moving}" data-moving="{moving}" data-still="{still}" alt="{alt}"></picture>'
        '<button type="button" class="lz-quiet" data-act="film">Play or pause</button></div>'
    )


def _sentence(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
