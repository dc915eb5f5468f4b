"""A repository on the Hub: what is in it, and one commit that changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from linearizer_core import __version__
from linearizer_core.errors import HubError
from linearizer_core.pretrained.hub.errors import hub_calls

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoSibling

Kind = Literal["model", "space"]

_MOST_FILES = 1000
_PATIENCE = 30.0


@dataclass(frozen=True)
class Repository:
    """What was in a repository at one commit.

    Arguments:
        name: ``org/name``.
        kind: ``model`` or ``space``.
        restricted: whether it is private or gated: only those read it who are allowed to.
        private: whether it is private.
        commit: the commit, 40 hexadecimal digits.
        files: size and digest of each file by its path.
    """

    name: str
    kind: Kind
    restricted: bool
    private: bool
    commit: str
    files: Mapping[str, RepoSibling]

    @property
    def sizes(self) -> dict[str, int]:
        """The size of each file in bytes by its path."""
        return {path: file.size or 0 for path, file in self.files.items()}


def client() -> HfApi:
    """The client of the Hub that the environment names."""
    from huggingface_hub import HfApi

    return HfApi(library_name="linearizer", library_version=__version__)


def look_up(name: str, revision: str = "main", *, kind: Kind = "model") -> Repository:
    """What is in a repository at a revision.

    Raises:
        HubError: for more files than any repository of ours has, and for what the Hub answers.
    """
    with hub_calls(f"{name}@{revision}"):
        describe = client().space_info if kind == "space" else client().model_info
        found = describe(name, revision=revision, files_metadata=True, timeout=_PATIENCE)
        files = {file.rfilename: file for file in found.siblings or ()}
        if len(files) > _MOST_FILES:
            raise HubError(f"{name} has {len(files):,} files, which no repository of ours has; give another one")
        if found.sha is None:
            raise HubError(f"{name}: the Hub does not say which commit {revision} is; check HF_ENDPOINT")
        return Repository(name, kind, bool(found.private or getattr(found, "gated", False)), bool(found.private), found.sha, files)


def open_repository(name: str, *, kind: Kind = "model", private: bool = False) -> Repository:
    """What is in a repository now, to be followed by `commit_files`. It is made where there is none.

    Arguments:
        name: ``org/name``.
        kind: ``model``, or ``space`` for a Gradio Space.
        private: make a private one.

    Raises:
        HubError: for a public repository where a private one was asked for, and for what the Hub answers.
    """
    with hub_calls(name):
        client().create_repo(name, repo_type=kind, private=private or None, exist_ok=True, space_sdk="gradio" if kind == "space" else None)
    repository = look_up(name, kind=kind)
    if private and not repository.private:
        raise HubError(f"{name} exists and is public, what you push would be too; make it private in its settings, or leave --private out")
    return repository


def commit_files(repository: Repository, files: Mapping[str, Path | bytes], message: str, *, delete: Iterable[str] = ()) -> str:
    """Put ``files`` into the repository, by path, in one commit, or in none where nothing differs; the URL of the commit.

    Files are transferred first and the commit follows: where it is stopped, nobody sees a half of it, and what was transferred is not sent again.

    Raises:
        HubError: when the repository has changed since it was opened, and for what the Hub answers.
    """
    with hub_calls(repository.name):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [CommitOperationAdd(path, content) for path, content in files.items()]
        deleted = [CommitOperationDelete(path) for path in delete]
        made = client().create_commit(repository.name, [*added, *deleted], commit_message=message, repo_type=repository.kind, parent_commit=repository.commit)
        return made.commit_url
