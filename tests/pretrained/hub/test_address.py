"""How a model on the Hub is named; whatever cannot be a name is refused before anything is asked."""

from __future__ import annotations

import re

import pytest
from hub_server import HubServer

from linearizer_core.errors import ArtifactError, HubError
from linearizer_core.pretrained import load
from linearizer_core.pretrained.hub import HubAddress

COMMIT = "0123456789" * 4


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("hf-hub:org/name", "org/name", "main"),
        ("org/name", "org/name", "main"),
        ("hf-hub:org/name@v1.0", "org/name", "v1.0"),
        ("hf-hub:org/na-me_2.1@main", "org/na-me_2.1", "main"),
        (f"hf-hub:org/name@{COMMIT}", "org/name", COMMIT),
        ("hf-hub:org/name@refs/pr/4", "org/name", "refs/pr/4"),
    ],
)
def test_an_address(text: str, repo: str, revision: str) -> None:
    address = HubAddress.parse(text)
    assert (address.repo, address.revision) == (repo, revision)
    assert HubAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    "repo", ["", "name", "a/b/c", "../name", "org/..", "org/na me", "/etc/passwd", "org/name.git", "org/a--b", "https://x/y", "org/\n", "o\\/n"]
)
def test_no_repository(repo: str, hub: HubServer) -> None:
    with pytest.raises(HubError, match="ORG/NAME") as caught:
        load(f"hf-hub:{repo}")
    assert "\n" not in str(caught.value)
    assert not hub.requests


@pytest.mark.parametrize("revision", ["", "..", "../x", "a/../b", "/abs", "a//b", "a/", ".hidden", "-x", "a b", "a\n", "a@b", "x/.git"])
def test_no_revision(revision: str, hub: HubServer) -> None:
    with pytest.raises(HubError, match=re.escape(repr(revision))):
        load(f"hf-hub:org/name@{revision}")
    assert not hub.requests


def test_a_bare_name_is_told_both_prefixes(hub: HubServer) -> None:
    with pytest.raises(ArtifactError, match=r"write local-dir:PATH .* hf-hub:ORG/NAME"):
        load("org/name")
    assert not hub.requests
