"""Loaded models: few at a time, each loaded once, and only those that visitors may ask for."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import final

from linearizer_core.errors import ConfigError, LinearizerError
from linearizer_core.pretrained import HUB_PREFIX, Pretrained
from linearizer_demo.guests import Source

_HUB_ID = re.compile(rf"(?:{HUB_PREFIX})?([\w.-]{{1,96}}/[\w.-]{{1,96}}(?:@[\w./-]{{1,120}})?)", re.ASCII)
_DOWNLOADS = 2
GUESTS = 2
"""Models that visitors named themselves, kept beside the others."""


@final
class Shelf:
    """Models by name, the most recently used ``capacity`` of them kept in memory. Any number of threads may ask at once.

    Arguments:
        offered: the names that are offered, and where each lies (`linearizer_core.pretrained.load`). Visitors reach no other folder of this machine.
        capacity: how many models are kept; of those that are not offered, `GUESTS` more, so that these never displace the others.
        load: what loads an address that is offered.
        guests: where models of the Hub come from that visitors name; none may be named without.

    Raises:
        ConfigError: for a capacity below 1.
    """

    def __init__(self, offered: Mapping[str, str], *, capacity: int, load: Callable[[str], Pretrained], guests: Source | None) -> None:
        if capacity < 1:
            raise ConfigError(f"capacity = {capacity}: expected at least 1 model in memory")
        self.offered = dict(offered)
        self.guests = guests
        self._load = load
        self._kept, self._guests = _Recent(capacity), _Recent(GUESTS)
        self._pins: dict[str, str] = {}
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
        if match and ".." not in name and self.guests:
            return HUB_PREFIX + match[1]
        other = ", or the name of a model on the Hub, such as org/name" if self.guests else ""
        raise ConfigError(f"there is no model {str(name)[:200]!r} here; choose one of {', '.join(self.offered)}{other}")

    def get(self, name: str) -> Pretrained:
        """The model of that name, loaded where it is not.

        Raises:
            ConfigError: for a name that is not offered.
            LinearizerError: where the model cannot be loaded, is too large for a guest, or too many others are being fetched.
        """
        address = self.address(name)
        if self.guests and address not in self.offered.values():
            return self._guest(address, self.guests)
        if (found := self._kept.find(address)) is not None:
            return found
        with self._loading:
            return self._kept.find(address) or self._kept.keep(address, self._load(address))

    def _guest(self, address: str, source: Source) -> Pretrained:
        """A model of the Hub, by the commit that its name meant when it was asked for first; as long as it is kept, the Hub is not asked again."""
        if (found := self._guests.find(self._pins.get(address, ""))) is not None:
            return found
        if not self._downloads.acquire(blocking=False):
            raise LinearizerError("other models are being fetched at the moment; try again in a minute")
        try:
            with self._downloading:
                pinned = source.pin(address)
                found = self._guests.find(pinned) or self._guests.keep(pinned, source.load(pinned))
                self._pins = {known: at for known, at in self._pins.items() if at in self._guests} | {address: pinned}
                return found
        finally:
            self._downloads.release()


@final
class _Recent:
    """The most recently used of some models, by address."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._models: OrderedDict[str, Pretrained] = OrderedDict()
        self._guard = threading.Lock()

    def __contains__(self, address: str) -> bool:
        return address in self._models

    def find(self, address: str) -> Pretrained | None:
        with self._guard:
            if address in self._models:
                self._models.move_to_end(address)
            return self._models.get(address)

    def keep(self, address: str, model: Pretrained) -> Pretrained:
        with self._guard:
            self._models[address] = model
            while len(self._models) > self._capacity:
                self._models.popitem(last=False)
        return model
