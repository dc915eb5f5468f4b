"""Models from the Hub: one commit, the files of the layout, whole and as they were committed, or an error."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained.artifact import check_digests, read_config, require_replaceable
from linearizer_core.pretrained.hub.address import HubAddress
from linearizer_core.pretrained.hub.errors import hub_calls
from linearizer_core.pretrained.hub.layout import artifact_sizes
from linearizer_core.pretrained.hub.repository import Repository, client, look_up
from linearizer_core.pretrained.staging import replacing


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
    with hub_calls(str(address)), replacing(folder) as staging:
        sizes = {path.name: path.stat().st_size for path in pulled.folder.iterdir() if path.is_file()}
        for name in artifact_sizes(sizes, str(pulled.address)):
            shutil.copyfile(pulled.folder / name, staging / name)
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
    with hub_calls(str(pinned)):
        folder = Path(client().hf_hub_download(pinned.repo, "config.json", revision=pinned.revision)).parent
    _check_committed(folder, repository, ["config.json"])
    read_config(folder)  # a model of another kind is refused before its weights are fetched
    with hub_calls(str(pinned)):
        client().snapshot_download(pinned.repo, revision=pinned.revision, allow_patterns=list(names))
    _check_committed(folder, repository, names)
    return folder


def _check_committed(folder: Path, repository: Repository, names: Iterable[str]) -> None:
    """What is in the cache is, byte for byte, what was committed. A file that is not leaves the cache, so that the next call fetches it again."""
    for name in names:
        path, file = folder / name, repository.files[name]
        if not path.exists():
            raise HubError(f"{repository.name}: {name} did not arrive; run it again, what is complete is not fetched twice")
        expected = file.lfs.sha256 if file.lfs else file.blob_id
        found = _digest(path, git=file.lfs is None)
        if found != expected:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise HubError(f"{repository.name}: {name} is damaged (its digest is {found}, committed was {expected}); it was deleted, run it again")


def _digest(path: Path, *, git: bool) -> str:
    """The name that git gives to a file of this content, or its SHA-256, by which large files go."""
    with path.open("rb") as file:
        start = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False) if git else hashlib.sha256()
        return hashlib.file_digest(file, lambda: start).hexdigest()
