"""How a saved linearizer is named: a registered name, or a prefix and where it lies."""

from __future__ import annotations

from pathlib import Path

import torch

from linearizer_core import plugins
from linearizer_core.errors import ArtifactError
from linearizer_core.pretrained.hub.address import HUB_PREFIX
from linearizer_core.pretrained.model import Pretrained

LOCAL_PREFIX = "local-dir:"


def load(uri: str, *, device: torch.device | str = "cpu") -> Pretrained:
    """Load a pretrained linearizer.

    Arguments:
        uri: the name of one that a plugin ships; ``local-dir:PATH``, a folder saved by `Pretrained.save_pretrained` or a run folder; or
            ``hf-hub:org/name`` on the Hub, with ``@`` and a branch, tag or commit where it is not ``main``.
        device: where it computes.

    Raises:
        ArtifactError: for a name that is not registered, a bare path, another scheme, or a folder that cannot be loaded.
        HubError: for a repository that cannot be fetched, or is no linearizer.
        TargetError: when the plugin of a registered name lacks its folder.
    """
    folder: Path | str
    if uri.startswith(HUB_PREFIX):
        folder = uri
    elif uri.startswith(LOCAL_PREFIX):
        folder = artifact_folder(Path(uri.removeprefix(LOCAL_PREFIX)))
    elif uri in plugins.specs("pretrained"):
        folder = plugins.find("pretrained", uri).folder()
    else:
        raise ArtifactError(
            f"{uri!r}: write {LOCAL_PREFIX}PATH for a folder that exists on this machine, {HUB_PREFIX}ORG/NAME for a model on the Hub, "
            "or a name from `linearizer list pretrained`"
        )
    return Pretrained.from_pretrained(folder, device=device)


def uri_of(text: str) -> str:
    """A URI from what a user typed: a folder that exists means ``local-dir:`` that folder."""
    return LOCAL_PREFIX + text if Path(text).is_dir() else text


def local_folder(text: str) -> Path | None:
    """The artifact that a user's text names, where it is a folder on this machine."""
    uri = uri_of(text)
    return artifact_folder(Path(uri.removeprefix(LOCAL_PREFIX))) if uri.startswith(LOCAL_PREFIX) else None


def artifact_folder(path: Path) -> Path:
    """The artifact in ``path``: the folder itself, or ``path/model`` where ``path`` is a run folder."""
    return path if (path / "config.json").exists() or not (path / "model" / "config.json").exists() else path / "model"
