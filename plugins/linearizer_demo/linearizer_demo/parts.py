"""Controls as components of the page: how each is drawn, read, and set anew when another model is chosen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Generic, TypeVar, final

import gradio as gr
import torch
from torch import Tensor
from torch.nn import functional

from linearizer_core.demo import Choice, Control, Picture, Seed, Sketch, Slider, Toggle, Weights
from linearizer_core.demo.controls import LARGEST_SEED, MOST_WEIGHTS
from linearizer_core.errors import ConfigError
from linearizer_demo.images import crisp, png
from linearizer_demo.panel import data_url
from linearizer_demo.uploads import LARGEST_FILE, read_drawing, read_upload

_THUMB = 64
_FEW, _SHORT = 6, 64
"""Options that stand side by side: how many at most, and with how many letters in all."""
C = TypeVar("C", bound=Control)


def web(name: str) -> str:
    """A file of the page."""
    return files("linearizer_demo").joinpath("web", name).read_text(encoding="utf-8")


class Part(ABC, Generic[C]):
    """One control on the page. It is made within the layout of the page, for the control of the first model."""

    components: list[Any]
    """What its value is read from, in order."""

    @property
    def triggers(self) -> list[Any]:
        """The events that mean that a visitor has set it."""
        return [component.input for component in self.components]

    def read(self, control: C, raw: Sequence[Any]) -> tuple[Any, str]:
        """What the components hold as what ``control`` accepts, and a note for the visitor.

        Raises:
            ConfigError: for an upload that cannot be used.
        """
        return raw[0], ""

    @abstractmethod
    def updates(self, control: C) -> list[Any]:
        """The components for another model, at the value to begin with."""


@final
class SliderPart(Part[Slider]):
    """A slider."""

    def __init__(self, control: Slider) -> None:
        self.components = [gr.Slider(**_slider(control), buttons=[])]

    def updates(self, control: Slider) -> list[Any]:
        return [gr.update(**_slider(control))]


def _slider(control: Slider) -> dict[str, Any]:
    values = {"minimum": control.minimum, "maximum": control.maximum, "step": control.step, "value": round(control.value, 6)}
    return values | {"label": control.label, "info": control.info or None}


@final
class SeedPart(Part[Seed]):
    """A number, and a button for another one."""

    def __init__(self, control: Seed) -> None:
        with gr.Row(elem_classes="lz-seed", equal_height=True):
            value = gr.Number(control.value, label=control.label, info=control.info or None, precision=0, minimum=0, maximum=LARGEST_SEED, min_width=80)
            another = gr.Button("New seed", size="md", min_width=80, elem_classes="lz-dice")
        self.components = [value]
        another.click(None, None, value, js="() => Math.floor(Math.random() * 1000000)", api_visibility="private")

    @property
    def triggers(self) -> list[Any]:
        return [self.components[0].change]  # set by the button, too

    def updates(self, control: Seed) -> list[Any]:
        return [gr.update(value=control.value)]


@final
class ChoicePart(Part[Choice]):
    """A few words side by side; many in a list."""

    def __init__(self, control: Choice) -> None:
        kind = gr.Radio if len(control.options) <= _FEW and len("".join(control.options)) <= _SHORT else gr.Dropdown
        self.components = [kind(**_choice(control))]

    def updates(self, control: Choice) -> list[Any]:
        return [gr.update(**_choice(control))]


def _choice(control: Choice) -> dict[str, Any]:
    return {"choices": list(control.options), "value": control.value or control.options[0], "label": control.label, "info": control.info or None}


@final
class TogglePart(Part[Toggle]):
    """A box to tick."""

    def __init__(self, control: Toggle) -> None:
        self.components = [gr.Checkbox(control.value, label=control.label, info=control.info or None)]

    def updates(self, control: Toggle) -> list[Any]:
        return [gr.update(value=control.value)]


@final
class WeightsPart(Part[Weights]):
    """A slider for each name."""

    def __init__(self, control: Weights) -> None:
        gr.HTML(f'<p class="lz-label">{escape(control.label)}</p><p class="lz-info">{escape(control.info)}</p>')
        with gr.Group(elem_classes="lz-weights"):
            self.components = [gr.Slider(**each, buttons=[]) for each in _weights(control)]

    def read(self, control: Weights, raw: Sequence[Any]) -> tuple[Any, str]:
        return dict(zip(control.names, raw, strict=False)), ""

    def updates(self, control: Weights) -> list[Any]:
        return [gr.update(**each) for each in _weights(control)]


def _weights(control: Weights) -> list[dict[str, Any]]:
    limits = {"minimum": control.minimum, "maximum": control.maximum, "step": control.step}
    used = [{"label": name, "value": control.value.get(name, 0.0), "visible": True} for name in control.names]
    unused = [{"label": "", "value": 0.0, "visible": False}] * (MOST_WEIGHTS - len(used))
    return [limits | each for each in [*used, *unused]]


@final
class PicturePart(Part[Picture]):
    """Examples to choose from, and an upload."""

    def __init__(self, control: Picture) -> None:
        template = (
            f'<div class="lz-pick"><p class="lz-label">{escape(control.label)}</p><p class="lz-info">{escape(control.info)}</p>'
            '<div class="lz-thumbs" role="radiogroup"></div>'
            '<label class="lz-upload"><input type="file" accept="image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff">'
            '<span>Use a picture of your own</span></label><p class="lz-told" role="status"></p></div>'
        )
        self.components = [
            gr.HTML(_begin(control), html_template=template, js_on_load=web("picture.js"), apply_default_css=False, label=control.label, **_thumbs(control))
        ]

    def read(self, control: Picture, raw: Sequence[Any]) -> tuple[Any, str]:
        return read_picture_of(control, raw[0])

    def updates(self, control: Picture) -> list[Any]:
        return [gr.update(value=_begin(control), label=control.label, **_thumbs(control))]


def read_picture_of(control: Picture, raw: Any) -> tuple[Any, str]:
    """What is meant by the number of an example, a chosen example, or an uploaded file."""
    if isinstance(raw, dict) and raw.keys() == {"example"}:
        return raw["example"], ""
    return read_upload(uploaded(raw), control.shape) if isinstance(raw, dict) else (None if raw == "" else raw, "")


def uploaded(raw: Any) -> Path:
    """The file of an upload. Gradio has made sure that it is one of its own, where it bears the mark of a file.

    Raises:
        ConfigError: for anything else.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("path"), str) or (raw.get("meta") or {}).get("_type") != "gradio.FileData":
        raise ConfigError("expected a picture file; in Python, gradio_client.handle_file(PATH)")
    return Path(raw["path"])


def _begin(control: Picture) -> Any:
    return "" if control.optional or control.examples is None else {"example": control.value}


def _thumbs(control: Picture) -> dict[str, Any]:
    examples = control.examples
    if examples is None:
        return {"sheet": "", "count": 0, "crisp": False, "largest": LARGEST_FILE}
    small = torch.cat([_thumb(each) for each in examples], dim=2)
    return {"sheet": data_url(png(small)), "count": len(examples), "crisp": crisp(examples), "largest": LARGEST_FILE}


def _thumb(example: Tensor) -> Tensor:
    side = min(example.shape[-2:])
    top, left = ((length - side) // 2 for length in example.shape[-2:])
    square = example[:, top : top + side, left : left + side].float()
    return functional.interpolate(square[None], size=(_THUMB, _THUMB), mode="area")[0] if side > _THUMB else square


@final
class SketchPart(Part[Sketch]):
    """A pad to draw on."""

    def __init__(self, control: Sketch) -> None:
        name = escape(control.label)
        template = (
            f'<div class="lz-pad lz-empty"><p class="lz-label">{name}</p><p class="lz-info">{escape(control.info)}</p>'
            f'<div class="lz-canvas"><canvas width="280" height="280" role="application" tabindex="0" aria-label="{name}: with a finger, a pen or a mouse; '
            'or with keys: arrows move, space sets the pen down and lifts it"></canvas><span aria-hidden="true">Draw here</span>'
            '<i class="lz-mark" aria-hidden="true"></i></div><div class="lz-acts"><button type="button" class="lz-quiet" data-act="undo">Undo</button>'
            '<button type="button" class="lz-quiet" data-act="clear">Clear</button></div></div>'
        )
        self.components = [gr.HTML("", html_template=template, js_on_load=web("sketch.js"), apply_default_css=False, label=control.label)]

    def read(self, control: Sketch, raw: Sequence[Any]) -> tuple[Any, str]:
        return read_sketch_of(control, raw[0])

    def updates(self, control: Sketch) -> list[Any]:
        return [gr.update()]


def read_sketch_of(control: Sketch, raw: Any) -> tuple[Any, str]:
    """What is drawn on the pad, or in an uploaded file."""
    if raw in (None, ""):
        return None, ""
    return read_drawing(raw if isinstance(raw, str) else uploaded(raw), control.shape), ""


_PARTS: dict[type[Control], type[Part[Any]]] = {
    Slider: SliderPart,
    Seed: SeedPart,
    Choice: ChoicePart,
    Toggle: TogglePart,
    Weights: WeightsPart,
    Picture: PicturePart,
    Sketch: SketchPart,
}


def part_of(control: Control) -> Part[Any]:
    """The part that draws a control."""
    return _PARTS[type(control)](control)  # type: ignore[call-arg]
