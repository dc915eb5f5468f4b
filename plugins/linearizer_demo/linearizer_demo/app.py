"""The page: a tab for each tab of the engine, with its controls on the left and what it shows on the right."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from linearizer_core.demo import Control
from linearizer_core.errors import LinearizerError
from linearizer_demo.blocks import Page
from linearizer_demo.endpoints import add_endpoint
from linearizer_demo.engine import DemoEngine
from linearizer_demo.panel import complain, draw, waiting
from linearizer_demo.parts import Part, part_of, web
from linearizer_demo.theme import properties, restrained
from linearizer_demo.uploads import LARGEST_FILE

_AT_ONCE = 4
"""Requests that are under way at the same time. Reading and computing goes one by one, models are fetched and results drawn meanwhile."""
_QUEUE = 96
_LANE: dict[str, Any] = {"concurrency_limit": _AT_ONCE, "concurrency_id": "engine"}
_HEAD = '<meta name="description" content="Networks that are exactly linear in a space of their own: try them."><meta name="color-scheme" content="light dark">'
_HEADER = (
    '<header class="lz-header"><h1>Linearizer</h1><p>Networks that are exactly linear in a space of their own: many steps become one, a projection is a '
    'projection, and the parts can be read. <a href="https://arxiv.org/abs/2510.08570" rel="noopener">The paper</a></p></header>'
)


def build(engine: DemoEngine) -> gr.Blocks:
    """The page and the endpoints of an engine, ready to `launch`."""
    page = Page(title="Linearizer", analytics_enabled=False, delete_cache=(60, 600))
    with page:
        gr.HTML(_HEADER, apply_default_css=False)
        with gr.Tabs(elem_classes="lz-tabs"):
            for name in engine.tabs:
                _tab(engine, name)
        for name in engine.tabs:
            add_endpoint(page, engine, name, _LANE)
    page.queue(max_size=_QUEUE, default_concurrency_limit=_AT_ONCE, api_open=False)
    return page


def launch(page: gr.Blocks, *, host: str | None, port: int | None, share: bool, open_browser: bool, block: bool) -> str:
    """Serve the page, and return its address.

    Arguments:
        host: the address to listen at; the environment variable ``GRADIO_SERVER_NAME``, else this machine alone, when none.
        port: the port; ``GRADIO_SERVER_PORT``, else the first free one from 7860, when none.
        share: whether it is offered through a tunnel of Gradio's.
        open_browser: whether a browser is opened.
        block: whether the call returns only when the server stops.
    """
    _, local, shared = page.launch(
        server_name=host,
        server_port=port,
        share=share,
        inbrowser=open_browser,
        prevent_thread_lock=True,
        quiet=True,
        theme=restrained(),
        css=properties() + web("style.css"),
        head=_HEAD,
        max_file_size=LARGEST_FILE,
        state_session_capacity=256,
        footer_links=["api"],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        enable_monitoring=False,
        strict_cors=True,
        show_error=True,
    )
    if block:
        page.block_thread()
    return shared or local


def _tab(engine: DemoEngine, name: str) -> None:
    tab, models = engine.tabs[name], engine.serving(name)
    with gr.Tab(tab.title, id=name, elem_id=f"tab-{name}") as opened:
        gr.HTML(f'<h2 class="lz-title">{escape(tab.title)}</h2>', apply_default_css=False, elem_classes="lz-heading")
        gr.Markdown(tab.explanation, elem_classes="lz-explanation")
        with gr.Row(elem_classes="lz-work"):
            with gr.Column(scale=4, min_width=300, elem_classes="lz-controls"):
                hint = "From the list, or the name of one on the Hub: org/name" if engine.shelf.guests else None
                model = gr.Dropdown(list(models), value=models[0], label="Model", info=hint, allow_custom_value=engine.shelf.guests is not None)
                parts = [part_of(control) for control in engine.controls(name, models[0])]
                go = gr.Button("Run", variant="primary", elem_classes="lz-go")
            with gr.Column(scale=7, min_width=320, elem_classes="lz-shown"):
                panel = gr.HTML(waiting(), js_on_load=web("panel.js"), apply_default_css=False, elem_classes="lz-panel", min_height=240)
    components = [component for part in parts for component in part.components]
    quiet: dict[str, Any] = {
        **_LANE,
        "api_visibility": "private",
        "show_progress": "minimal",
        "show_progress_on": panel,
        "preprocess": False,
        "trigger_mode": "always_last",
    }
    # One event for all of them: of several that come while one is under way the last is computed, and a late result replaces no newer one.
    triggers = [go.click, opened.select, *(trigger for part in parts for trigger in part.triggers)]
    gr.on(triggers, partial(_run, engine, name, parts), [model, *components], [panel], **quiet)
    model.input(partial(_choose, engine, name, parts), [model], [*components, panel], **quiet)


def _run(engine: DemoEngine, name: str, parts: Sequence[Part[Any]], model: str, *raw: Any) -> str:
    notes: list[str] = []

    def read(controls: Sequence[Control]) -> dict[str, Any]:
        values, given = {}, list(raw)
        for part, control in zip(parts, controls, strict=True):
            own, given = given[: len(part.components)], given[len(part.components) :]
            values[control.name], note = part.read(control, own)
            notes.append(note)
        return values

    try:
        return draw(engine.tabs[name].outputs(), engine.run(name, model, read), " ".join(filter(None, notes)))
    except LinearizerError as error:
        return complain(str(error))


def _choose(engine: DemoEngine, name: str, parts: Sequence[Part[Any]], model: str) -> list[Any]:
    updates: list[Any] = []

    def begin(controls: Sequence[Control]) -> dict[str, Any]:
        updates.extend(update for part, control in zip(parts, controls, strict=True) for update in part.updates(control))
        return {}

    try:
        shown = draw(engine.tabs[name].outputs(), engine.run(name, model, begin))
    except LinearizerError as error:
        shown = complain(str(error))
    return [*(updates or (gr.skip() for part in parts for _ in part.components)), shown]
