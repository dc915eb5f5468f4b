"""The page as a gradio object, with one rule more: the server fetches nothing from an address that a visitor names."""

from __future__ import annotations

from typing import Any, final

import gradio as gr


@final
class Page(gr.Blocks):
    """Blocks whose events take uploads only.

    Gradio looks for files in every value that it is sent, of any component and any endpoint, and downloads those whose path is an address. All of them pass
    here first. The ``url`` of a file it never fetches; clients in browsers send it with their own uploads.
    """

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *rest: Any, **named: Any) -> Any:
        if _names_an_address(inputs):
            raise gr.Error("a picture is expected, not its address; fetch it first, and upload it", print_exception=False)
        return await super().preprocess_data(block_fn, inputs, *rest, **named)


def _names_an_address(value: Any) -> bool:
    """Whether a file is named by an address, anywhere in what was sent as JSON."""
    if isinstance(value, dict):
        return "://" in str(value.get("path", "")) or any(map(_names_an_address, value.values()))
    return isinstance(value, list) and any(map(_names_an_address, value))
