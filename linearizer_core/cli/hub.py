"""Models to and from the Hub: ``push``, ``pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from linearizer_core.cli.root import app
from linearizer_core.errors import ConfigError


@app.command("push")
def run_push(
    model: Annotated[str, typer.Argument(metavar="RUN_OR_FOLDER", help="A run folder, or the folder of a saved model.")],
    repo: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The repository on the Hub; it is made where there is none.")],
    *,
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")] = False,
) -> None:
    """Send a trained model to the Hugging Face Hub in one commit. Only the files of a saved model are sent, never the state of training."""
    from linearizer_core.pretrained import local_folder
    from linearizer_core.pretrained.hub import files_to_push, push

    folder = local_folder(model)
    if folder is None:
        raise ConfigError(f"{model} is no folder on this machine; give a run folder or the folder of a saved model")
    if not dry_run:
        typer.echo(f"pushed: {push(folder, repo, private=private)}")
        return
    files = files_to_push(folder, repo)
    sizes = {name: len(content) if isinstance(content, bytes) else content.stat().st_size for name, content in files.items()}
    typer.echo(f"would be sent to {repo}, in one commit:")
    for name, size in {**sizes, "in all": sum(sizes.values())}.items():
        typer.echo(f"  {name:<24}{size:>16,} bytes")
    if kept := sorted(path.name for path in folder.iterdir() if path.name not in sizes):
        typer.echo(f"stays here: {', '.join(kept)}")


@app.command("pull")
def run_pull(
    address: Annotated[str, typer.Argument(metavar="URI[@REV]", help="hf-hub:ORG/NAME, with @ and a branch, tag or commit where it is not main.")],
    *,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the model; the cache of the Hub when left out.")] = None,
) -> None:
    """Fetch a model from the Hugging Face Hub, check it, and print where it lies and which commit it is."""
    from linearizer_core.pretrained.hub import HubAddress, pull

    pulled = pull(HubAddress.parse(address), output)
    typer.echo(f"pulled: {pulled.address}\nfolder: {pulled.folder}")
