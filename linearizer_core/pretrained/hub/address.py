"""How a model on the Hub is named: ``hf-hub:org/name@revision``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from linearizer_core.errors import HubError
from linearizer_core.pretrained.hub.errors import hub_calls

HUB_PREFIX = "hf-hub:"
ANY_ADDRESS = "local-dir:PATH"
"""How a card says where its model lies as long as nobody knows."""


# It becomes part of a path in the cache: no segment may lead elsewhere.
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


@dataclass(frozen=True)
class HubAddress:
    """A repository on the Hub, and a revision of it.

    Arguments:
        repo: ``org/name``.
        revision: a branch, a tag or a commit (40 hexadecimal digits). Only a commit always means the same files.

    Raises:
        HubError: for a name that cannot be one. Nothing is asked of the Hub.

    Example:
        >>> HubAddress.parse("hf-hub:someone/digits@v1.0")
        HubAddress(repo='someone/digits', revision='v1.0')
        >>> str(HubAddress.parse("someone/digits"))
        'hf-hub:someone/digits@main'
    """

    repo: str
    revision: str = "main"

    def __post_init__(self) -> None:
        with hub_calls(repr(self.repo)):
            from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported at run time only

            validate_repo_id(self.repo)
        if "/" not in self.repo:
            raise HubError(f"{self.repo!r} is no repository of the Hub: write it as ORG/NAME, where ORG may be a user")
        if not _REVISION.fullmatch(self.revision) or ".." in self.revision:
            raise HubError(f"{self.revision!r} is no revision of {self.repo}: write a branch, a tag or a commit of 40 hexadecimal digits after the @")

    @classmethod
    def parse(cls, text: str) -> HubAddress:
        """The address that a user wrote, with ``hf-hub:`` in front or without; the branch ``main`` where there is no ``@``."""
        repo, at, revision = text.removeprefix(HUB_PREFIX).partition("@")
        return cls(repo, revision) if at else cls(repo)

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo}@{self.revision}"
