"""A repository on the Hub: what is in it, and one commit that changes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from linearizer_core import __version__
from linearizer_core.errors import HubError
from linearizer_core.pretrained.hub.errors import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

Kind = Literal["model", "space"]

_MOST_FILES = 1000


@dataclass(frozen=True)
class Repository:
    """A repository at the commit that its branch ``main`` had when it was opened.

    Arguments:
        name: ``org/name``.
        kind: what it holds.
        commit: the commit.
        files: what was in it then, by path.
    """

    name: str
    kind: Kind
    commit: str
    files: Mapping[str, RepoFile]


def client() -> HfApi:
    """The client of the Hub that the environment names."""
    from huggingface_hub import HfApi

    return HfApi(library_name="linearizer", library_version=__version__)


def list_files(name: str, commit: str, kind: Kind = "model") -> dict[str, RepoFile]:
    """The files of one commit by path.

    Raises:
        HubError: for more of them than any repository of ours has, and for what the Hub answers.
    """
    with hub_errors(name):
        from huggingface_hub import RepoFile

        entries = list(islice(client().list_repo_tree(name, recursive=True, revision=commit, repo_type=kind), _MOST_FILES + 1))
        if len(entries) > _MOST_FILES:
            raise HubError(f"{name} has more than {_MOST_FILES:,} files, which no repository of ours has; give another one")
        return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def open_repository(name: str, *, kind: Kind = "model", private: bool = False) -> Repository:
    """The repository as it is now; it is made where there is none.

    Arguments:
        name: ``org/name``.
        kind: ``model`` or ``space``, a Gradio Space.
        private: make a private one.

    Raises:
        HubError: for a public repository where a private one was asked for, and for what the Hub answers.
    """
    with hub_errors(name):
        api = client()
        api.create_repo(name, repo_type=kind, private=private or None, exist_ok=True, space_sdk="gradio" if kind == "space" else None)
        found = api.repo_info(name, repo_type=kind)
        if private and not found.private:
            raise HubError(f"{name} exists and is public, what you push would be too; make it private in its settings, or leave --private out")
        assert found.sha is not None, "no commit"
    return Repository(name, kind, found.sha, list_files(name, found.sha, kind))


def commit_files(repository: Repository, files: Mapping[str, Path | bytes], message: str, *, delete: Iterable[str] = ()) -> str:
    """Put ``files`` into the repository, by path, in one commit, or in none where nothing differs; the URL of the commit.

    Files are transferred first and the commit follows: where it is stopped, nobody sees a half of it, and what was transferred is not sent again.

    Raises:
        HubError: when the repository has changed since it was opened, and for what the Hub answers.
    """
    with hub_errors(repository.name):
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        added = [CommitOperationAdd(path, content) for path, content in files.items()]
        deleted = [CommitOperationDelete(path) for path in delete]
        made = client().create_commit(repository.name, [*added, *deleted], commit_message=message, repo_type=repository.kind, parent_commit=repository.commit)
        return made.commit_url
