"""``linearizer demo``."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from linearizer_core.errors import HubError
from linearizer_demo.extra import require_gradio

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def demo(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Names from `linearizer list pretrained`, run folders, local-dir:PATH, hf-hub:ORG/NAME; all that are installed when none.",
        ),
    ] = None,
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen at: GRADIO_SERVER_NAME, else 127.0.0.1; 0.0.0.0 for everybody in the network.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port: GRADIO_SERVER_PORT, else the first free one from 7860.")] = None,
    share: Annotated[bool, typer.Option("--share", help="Offer it to everybody through a tunnel of Gradio's, for a week.")] = False,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = True,
    hub: Annotated[bool, typer.Option("--hub/--no-hub", help="Visitors may name any model of the Hub.")] = True,
    capacity: Annotated[int, typer.Option(min=1, help="How many models are kept in memory.")] = 16,
) -> None:
    """Try trained models in the browser."""
    if hub:
        # Read when huggingface_hub is imported. Visitors who may name any model must not read what only the token of this account may.
        os.environ.setdefault("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    require_gradio()
    from linearizer_demo.app import build, launch
    from linearizer_demo.engine import DemoEngine

    try:
        engine = DemoEngine(models or [], capacity=capacity, hub=hub)
    except HubError as error:
        raise HubError(f"{error}; or add --no-hub: with it your own token is used" if hub else str(error)) from error
    page = build(engine)
    address = launch(page, host=host, port=port, share=share, open_browser=open_browser, block=False)
    typer.echo(f"The demo runs at {address} (stop it with Ctrl+C).")
    page.block_thread()
