"""Models to the Hub: the files of the layout and no others, in one commit."""

from __future__ import annotations

import re
from pathlib import Path

from linearizer_core import __version__
from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained.artifact import LARGEST_JSON, PICTURE_NAME, read_config, read_json
from linearizer_core.pretrained.hub.address import HUB_PREFIX, HubAddress
from linearizer_core.pretrained.hub.errors import hub_calls
from linearizer_core.pretrained.hub.layout import LARGEST, artifact_files
from linearizer_core.pretrained.hub.repository import Repository, client, commit_files, open_repository

_LOADED = re.compile(r'load\("([^"\n]+)"\)')
"""Where a card says how its model is loaded."""


def files_to_push(folder: Path, repo: str) -> dict[str, Path | bytes]:
    """What `push` sends of a folder, by name. The folder is loaded first: a broken one is refused.

    The card is made anew for the repository, unless somebody has edited it.

    Raises:
        ArtifactError: when it cannot be loaded, or its card is no text.
        HubError: for a name that cannot be one, and when a file is larger than any that is pulled.
    """
    from linearizer_core.pretrained.model import Pretrained  # which imports this package

    address = HubAddress(repo)
    pretrained = Pretrained.from_pretrained(folder)
    files: dict[str, Path | bytes] = {**artifact_files(folder)}
    try:
        card = (folder / "README.md").read_text(encoding="utf-8") if "README.md" in files else ""
    except UnicodeDecodeError as error:
        raise ArtifactError(
            f"{folder / 'README.md'} is no text in UTF-8 ({error.reason}), which the Hub asks of a card; save it in UTF-8, or delete it"
        ) from error
    told = _LOADED.search(card)
    if told and card == pretrained.card(told[1]):
        files["README.md"] = pretrained.card(f"{HUB_PREFIX}{address.repo}").encode()
    return files


def push(folder: Path, repo: str, *, private: bool = False) -> str:
    """Send a saved linearizer to the Hub in one commit; the URL of the commit.

    Files of the layout that are in the repository and not in ``folder`` are deleted by the same commit; other files there stay as they are.
    A repository that does not exist is made. The card names the repository, unless it was edited: then it is sent as it is.

    Arguments:
        folder: a folder that `linearizer_core.pretrained.Pretrained.save_pretrained` wrote.
        repo: ``org/name``.
        private: make a private repository.

    Raises:
        ArtifactError: when ``folder`` cannot be loaded.
        HubError: when the repository holds a model of another kind, and for what the Hub answers.
    """
    files, config = files_to_push(folder, repo), read_config(folder)
    repository = open_repository(repo, private=private)
    _require_ours(repository)
    stale = [path for path in repository.files if (path in LARGEST or PICTURE_NAME.fullmatch(path)) and path not in files]
    message = f"{config.model.task.name} on {config.data.name}, linearizer {__version__}"
    return commit_files(repository, files, message, delete=stale)


def _require_ours(repository: Repository) -> None:
    """Raise unless the repository holds a linearizer, or no model yet."""
    known = sorted(repository.files.keys() & (LARGEST.keys() - {"README.md"}))
    if known and not _is_linearizer(repository):
        raise HubError(f"{repository.name} holds a model that is not a linearizer ({', '.join(known)}); push to another repository")


def _is_linearizer(repository: Repository) -> bool:
    if not 0 < repository.sizes.get("config.json", 0) <= LARGEST_JSON:
        return False
    with hub_calls(repository.name):
        config = client().hf_hub_download(repository.name, "config.json", revision=repository.commit)
    try:
        return read_json(Path(config)).get("format") == "linearizer"
    except ArtifactError:
        return False
