"""Models from the Hub: one commit, the files of the layout, whole and as they were committed, or an error."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained.artifact import check_digests, read_config, require_replaceable
from linearizer_core.pretrained.hub.address import HubAddress
from linearizer_core.pretrained.hub.errors import hub_calls
from linearizer_core.pretrained.hub.layout import artifact_files, artifact_sizes
from linearizer_core.pretrained.hub.repository import Repository, client, look_up
from linearizer_core.pretrained.staging import replacing

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling


@dataclass(frozen=True)
class Pulled:
    """A folder with the files of one commit, and the address with that commit."""

    folder: Path
    address: HubAddress


def pull(address: HubAddress, folder: Path | None = None) -> Pulled:
    """Fetch a saved linearizer as `fetch` does, and copy it into ``folder``, all of it or nothing; without ``folder``, it stays in the cache.

    Raises:
        HubError, ArtifactError: as `fetch`; also when ``folder`` holds something that is not a saved linearizer.
    """
    if folder is None:
        return fetch(address)
    folder = folder.resolve()
    require_replaceable(folder)  # before anything is fetched
    pulled = fetch(address)
    try:
        with replacing(folder) as staging:
            for name, path in artifact_files(pulled.folder).items():
                shutil.copyfile(path, staging / name)
    except OSError as error:
        raise HubError(f"{folder} cannot be written ({error.strerror}); make room or give rights there, or choose another folder") from error
    return Pulled(folder, pulled.address)


def fetch(address: HubAddress) -> Pulled:
    """The folder in the cache with the files of the commit that the revision names now; what is there already is not fetched again.

    The revision is looked up once. Without a network, or with ``HF_HUB_OFFLINE``, it is what it was the last time.

    Raises:
        HubError: for what the Hub answers, and for a repository that is not a linearizer.
        ArtifactError: for a ``config.json`` that is not of this format, and for tensors that are not those it was saved with.
    """
    with hub_calls(str(address)):
        pinned = HubAddress(address.repo, client().resolve_revision(address.repo, revision=address.revision).resolved)
        folder = _cached(pinned)
    if folder is not None:
        with suppress(ArtifactError):  # what lies in the cache may have been damaged since
            check_digests(folder, read_config(folder))
            return Pulled(folder, pinned)
    folder = _download(pinned)
    try:
        check_digests(folder, read_config(folder))
    except ArtifactError as error:
        raise ArtifactError(f"{pinned} is not what was saved, its author has to push it again: {error}") from error
    return Pulled(folder, pinned)


def _cached(pinned: HubAddress) -> Path | None:
    """The folder of a commit in the cache, where all its files are there. Nothing is asked of the Hub."""
    from huggingface_hub import get_cached_repo_tree, try_to_load_from_cache
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        listed = get_cached_repo_tree(pinned.repo, revision=pinned.revision)
    except CachedRepoTreeNotFoundError:
        return None
    names = artifact_sizes({file.path: file.size for file in listed}, str(pinned))
    paths = [try_to_load_from_cache(pinned.repo, name, revision=pinned.revision) for name in names]
    found = [Path(path) for path in paths if isinstance(path, str)]
    return found[0].parent if len(found) == len(names) else None


def _download(pinned: HubAddress) -> Path:
    """Fetch what is not in the cache yet, the small file that says what it is first."""
    repository = look_up(pinned.repo, pinned.revision)
    names = artifact_sizes(repository.sizes, str(pinned))
    folder = _fetch_files(repository, ["config.json"])
    read_config(folder)  # a model of another kind is refused before its weights are fetched
    return _fetch_files(repository, list(names))


def _fetch_files(repository: Repository, names: list[str]) -> Path:
    """Fetch files of a commit: byte for byte what was committed. One that lay damaged in the cache is fetched anew."""
    for _ in range(2):
        with hub_calls(repository.name):
            folder = Path(client().snapshot_download(repository.name, revision=repository.commit, allow_patterns=names))
        damaged = [problem for name in names if (problem := _drop_damaged(folder / name, repository.files[name]))]
        if not damaged:
            return folder
    raise HubError(f"{repository.name}: {damaged[0]}; run it again, what is complete is not fetched twice")


def _drop_damaged(path: Path, file: RepoSibling) -> str:
    """What is wrong with a file that was fetched, empty where it is what was committed. A damaged one leaves the cache."""
    if not path.exists():
        return f"{path.name} did not arrive"
    expected = file.lfs.sha256 if file.lfs else file.blob_id
    found = _digest(path, git=file.lfs is None)
    if found == expected:
        return ""
    path.resolve().unlink()
    path.unlink(missing_ok=True)
    return f"{path.name} is damaged (its digest is {found}, committed was {expected}) and was deleted"


def _digest(path: Path, *, git: bool) -> str:
    """The name that git gives to a file of this content, or its SHA-256, by which large files go."""
    with path.open("rb") as file:
        start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False) if git else hashlib.sha256()
        return hashlib.file_digest(file, lambda: start).hexdigest()
