"""The demo for programs: one named endpoint for each tab, with the controls as its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import GenericAlias
from typing import Any

import gradio as gr
from gradio.data_classes import FileData
from gradio.events import api
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from linearizer_core.demo import Choice, Control, Output, Picture, Seed, Sketch, Slider, Toggle, Weights
from linearizer_core.errors import LinearizerError
from linearizer_demo.engine import DemoEngine
from linearizer_demo.images import enlarged, film, sheet
from linearizer_demo.panel import seconds_fact
from linearizer_demo.parts import read_picture_of, read_sketch_of

_TYPES: dict[type[Control], Any] = {
    Seed: int | None,
    Choice: str | None,
    Toggle: bool | None,
    Weights: dict[str, float] | None,
    Picture: FileData | int | None,
    Sketch: FileData | None,
}


def add_endpoint(page: gr.Blocks, engine: DemoEngine, name: str, lane: Mapping[str, Any]) -> None:
    """Offer the tab ``name`` as the endpoint of that name, within ``page``.

    Arguments:
        lane: the limits of concurrency, as `gradio.api` takes them.
    """
    first = engine.serving(name)[0]
    controls, outputs = engine.controls(name, first), engine.tabs[name].outputs()
    endpoint = api(_function(engine, name, first, controls, outputs), api_name=name, api_description=_description(engine, name, controls), **lane)
    made: Any = page.fns[endpoint["id"]]
    for component, label in zip(made.outputs, [*(output.name for output in outputs), "numbers", "sentence"], strict=True):
        component.label = label


def _function(engine: DemoEngine, name: str, first: str, controls: Sequence[Control], outputs: Sequence[Output]) -> Callable[..., Any]:
    def call(model: str, *given: Any) -> tuple[Any, ...]:
        try:
            result = engine.run(name, model, lambda controls: {control.name: _meant(control, raw) for control, raw in zip(controls, given, strict=True)})
            made = [_file(output, result.shown.outputs[output.name]) for output in outputs]
        except LinearizerError as error:
            raise gr.Error(str(error), print_exception=False) from error
        facts = {fact.label: fact.value for fact in [*result.shown.facts, seconds_fact(result)]}
        return (*made, facts, result.shown.sentence)

    kinds = {"model": str} | {control.name: _kind(control) for control in controls}
    returned = GenericAlias(tuple, (*(FileData for _ in outputs), dict[str, str], str))
    parameters = [
        inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=first if key == "model" else None, annotation=kind)
        for key, kind in kinds.items()
    ]
    call.__name__ = name
    call.__annotations__ = {**kinds, "return": returned}
    call.__signature__ = inspect.Signature(parameters, return_annotation=returned)  # type: ignore[attr-defined]
    return call


def _kind(control: Control) -> Any:
    if isinstance(control, Slider):
        return int | None if isinstance(control.step, int) else float | None
    return _TYPES[type(control)]


def _meant(control: Control, raw: Any) -> Any:
    if isinstance(control, Picture):
        return read_picture_of(control, raw)[0]
    return read_sketch_of(control, raw)[0] if isinstance(control, Sketch) else raw


def _file(output: Output, content: Any) -> dict[str, Any]:
    if isinstance(content, bytes):
        data, ending = content, "png"
    elif output.kind == "film":
        data, ending = film(enlarged(content)), "webp"
    else:
        data, ending = sheet(content), "png"
    path = save_bytes_to_cache(data, f"{output.name}.{ending}", get_upload_folder())
    return FileData(path=str(path), orig_name=f"{output.name}.{ending}").model_dump()


def _description(engine: DemoEngine, name: str, controls: Sequence[Control]) -> str:
    tab = engine.tabs[name]
    arguments = "; ".join(f"{control.name}: {control.label}{f' ({control.info})' if control.info else ''}" for control in controls)
    returned = "; ".join(f"{output.label}{f' ({output.description})' if output.description else ''}" for output in tab.outputs())
    return f"{tab.explanation} Arguments: model: one of {', '.join(engine.serving(name))}; {arguments}. Returns: {returned}; numbers; a sentence."
