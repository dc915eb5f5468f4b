"""A Space on the Hub: made, and changed in one commit."""

from __future__ import annotations

from pathlib import Path

from linearizer_core import __version__
from linearizer_core.errors import ConfigError
from linearizer_core.pretrained.hub import HubAddress, commit_files, open_repository
from linearizer_demo.space.build import MARK

_THE_HUBS = (".gitattributes", ".gitignore")


def deploy(folder: Path, repo: str, *, private: bool = False) -> str:
    """Send the folder of a Space to the Hub, in one commit that also deletes what is not in the folder; the URL of the commit.

    Raises:
        ConfigError: for a Space there that was not built by `linearizer space`.
        HubError: for what the Hub answers.
    """
    address = HubAddress(repo)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    repository = open_repository(address.repo, kind="space", private=private)
    known = repository.files.keys() - {*_THE_HUBS, "README.md"}
    if known and "vendor/linearizer_core/__init__.py" not in known:
        raise ConfigError(f"{repo} is a Space that was not built by `linearizer space` (it holds {sorted(known)[0]}); give another name")
    stale = [path for path in repository.files if path not in files and path not in _THE_HUBS]
    return commit_files(repository, files, f"{MARK}, linearizer {__version__}", delete=stale)
