"""``linearizer space``: Gradio Spaces for trained models."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from linearizer_demo.extra import require_gradio

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help="Make a Gradio Space for trained models.")

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", help="Names from `linearizer list pretrained`, run folders, local-dir:PATH, hf-hub:ORG/NAME; all that are installed when none."
    ),
]
Title = Annotated[str, typer.Option(help="What the Space is called.")]
_TITLE = "Linearizer"


@app.command("build")
def run_build(
    models: Models = None,
    *,
    title: Title = _TITLE,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the Space; one that was built there before is replaced.")] = Path("space"),
) -> None:
    """Write the folder of a Space: front matter, pinned requirements, a thin app, the models, and the framework itself."""
    require_gradio()
    from linearizer_demo.space import build_space, space_models

    build_space(space_models(models or []), output, title)
    typer.echo(f"built: {output} (try it with: python {output / 'app.py'})")


@app.command("deploy")
def run_deploy(
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The Space on the Hub; it is made where there is none.")],
    models: Models = None,
    *,
    title: Title = _TITLE,
    private: Annotated[bool, typer.Option("--private", help="Make a private Space.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
) -> None:
    """Build a Space and send it to the Hugging Face Hub, in one commit."""
    require_gradio()
    from linearizer_core.pretrained.hub import HubAddress
    from linearizer_demo.space import build_space, space_models
    from linearizer_demo.space.deploy import deploy

    address = HubAddress(repo)
    with tempfile.TemporaryDirectory() as temporary:
        folder = build_space(space_models(models or []), Path(temporary) / "space", title)
        if not dry_run:
            typer.echo(f"deployed: {deploy(folder, repo, private=private)}")
            return
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        typer.echo(f"would be sent to the Space {address.repo}, in one commit:")
        for top in sorted(folder.iterdir()):
            inside = [path for path in files if path == top or top in path.parents]
            typer.echo(f"  {top.name:<24}{len(inside):>6,} files{sum(path.stat().st_size for path in inside):>16,} bytes")
