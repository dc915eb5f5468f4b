"""Models of the Hub that visitors name: pinned to a commit, and refused where they are too large to be anybody's guest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, final

from linearizer_core.errors import HubError
from linearizer_core.pretrained import Pretrained, load
from linearizer_core.pretrained.artifact import read_config
from linearizer_core.pretrained.hub.address import HubAddress
from linearizer_core.pretrained.hub.layout import artifact_sizes
from linearizer_core.pretrained.hub.pull import fetch
from linearizer_core.pretrained.hub.repository import look_up

LARGEST_MODEL = 256 * 2**20
"""Bytes of all files of a saved model."""
LARGEST_EXAMPLE = 3 * 256 * 256
"""Numbers in one example."""


class Source(Protocol):
    """Where the models come from that are not offered."""

    def pin(self, address: str) -> str:
        """The one address of what ``address`` means now.

        Raises:
            LinearizerError: where there is no such model, or it is too large.
        """

    def load(self, pinned: str) -> Pretrained:
        """The model at an address that `pin` gave.

        Raises:
            LinearizerError: where it cannot be loaded, or is too large.
        """


@final
@dataclass(frozen=True)
class HubSource:
    """Public models of the Hub, within bounds.

    Arguments:
        largest_model: bytes of the files of a saved model, as the Hub lists them; nothing of a larger one is fetched.
        largest_example: numbers in one example, as its ``config.json`` says; no larger one is built.
    """

    largest_model: int = LARGEST_MODEL
    largest_example: int = LARGEST_EXAMPLE

    def pin(self, address: str) -> str:
        """The address with the commit that its branch or tag names now."""
        asked = HubAddress.parse(address)
        repository = look_up(asked.repo, asked.revision)
        size = sum(artifact_sizes(repository.sizes, str(asked)).values())
        if size > self.largest_model:
            limit = f"at most {self.largest_model / 2**20:.0f} of a model that is not on the list"
            raise HubError(f"{asked} has {size / 2**20:,.0f} MB, expected {limit}; run the demo on your own machine with `linearizer demo {address}`")
        return str(HubAddress(asked.repo, repository.commit))

    def load(self, pinned: str) -> Pretrained:
        """The model at that commit."""
        shape = read_config(fetch(HubAddress.parse(pinned)).folder).data.shape
        if math.prod(shape) > self.largest_example:
            limit = f"at most {self.largest_example:,} numbers in all of a model that is not on the list"
            raise HubError(f"{pinned} has examples of shape {shape}, expected {limit}; run the demo on your own machine with `linearizer demo {pinned}`")
        return load(pinned)
