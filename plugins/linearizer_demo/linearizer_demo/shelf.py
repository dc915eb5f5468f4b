"""Loaded models: few at a time, each loaded once, and only those that visitors may ask for."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping

from linearizer_core.errors import ConfigError, LinearizerError
from linearizer_core.pretrained import HUB_PREFIX, Pretrained

_HUB_ID = re.compile(rf"(?:{HUB_PREFIX})?([\w.-]{{1,96}}/[\w.-]{{1,96}}(?:@[\w./-]{{1,120}})?)", re.ASCII)
_DOWNLOADS = 2


class Shelf:
    """Models by name, the most recently used ``capacity`` of them kept in memory. Any number of threads may ask at once.

    Arguments:
        offered: the names that are offered, and where each lies (`linearizer_core.pretrained.load`). Visitors reach no other folder of this machine.
        capacity: how many models are kept.
        hub: whether a visitor may name any model of the Hub.
        load: what loads an address.

    Raises:
        ConfigError: for a capacity below 1.
    """

    def __init__(self, offered: Mapping[str, str], *, capacity: int, hub: bool, load: Callable[[str], Pretrained]) -> None:
        if capacity < 1:
            raise ConfigError(f"capacity = {capacity}: expected at least 1 model in memory")
        self.offered = dict(offered)
        self._capacity = capacity
        self.hub = hub
        self._load = load
        self._kept: OrderedDict[str, Pretrained] = OrderedDict()
        self._guard = threading.Lock()
        self._loading = threading.Lock()
        # A slow download must hold up neither the models that are here, nor more than a few of those who wait.
        self._downloads = threading.BoundedSemaphore(_DOWNLOADS)
        self._downloading = threading.Lock()

    def address(self, name: str) -> str:
        """Where a model lies that a visitor asks for.

        Raises:
            ConfigError: for a name that is not offered, and is no name of the Hub or may not be one.
        """
        if name in self.offered:
            return self.offered[name]
        match = _HUB_ID.fullmatch(name) if isinstance(name, str) else None
        if match and ".." not in name and self.hub:
            return HUB_PREFIX + match[1]
        other = ", or the name of a model on the Hub, such as org/name" if self.hub else ""
        raise ConfigError(f"there is no model {str(name)[:200]!r} here; choose one of {', '.join(self.offered)}{other}")

    def get(self, name: str) -> Pretrained:
        """The model of that name, loaded where it is not.

        Raises:
            ConfigError: for a name that is not offered.
            LinearizerError: where the model cannot be loaded, or too many others are being fetched.
        """
        address = self.address(name)
        if (found := self._find(address)) is not None:
            return found
        if name in self.offered:
            with self._loading:
                return self._find(address) or self._keep(address)
        if not self._downloads.acquire(blocking=False):
            raise LinearizerError("other models are being fetched at the moment; try again in a minute")
        try:
            with self._downloading:
                return self._find(address) or self._keep(address)
        finally:
            self._downloads.release()

    def _find(self, address: str) -> Pretrained | None:
        with self._guard:
            if address in self._kept:
                self._kept.move_to_end(address)
            return self._kept.get(address)

    def _keep(self, address: str) -> Pretrained:
        loaded = self._load(address)
        with self._guard:
            self._kept[address] = loaded
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return loaded
