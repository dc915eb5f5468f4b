"""The demo without its user interface: which tabs there are, which models they can use, and what they show. Knows no gradio."""

from __future__ import annotations

import logging
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar, final

from linearizer_core import plugins
from linearizer_core.demo import Control, Shown, Tab
from linearizer_core.errors import ConfigError, LinearizerError
from linearizer_core.pretrained import Pretrained, load, uri_of
from linearizer_demo.guests import HubSource
from linearizer_demo.shelf import Shelf

_log = logging.getLogger(__name__)
T = TypeVar("T")
Reader = Callable[[Sequence[Control]], Mapping[str, Any]]
"""Gives the values of a tab's controls, by name, once these are known."""
_PATH = re.compile(r"(?:\blocal-dir:|(?<![\w.:/]))(?:/[^\s/'\",;:()\[\]]+){2,}/?")
CALM = "this did not work, and the fault is ours, not yours; try other values, or another model"


@dataclass(frozen=True)
class Result:
    """What a tab shows, and the seconds that it took to read what was given and to compute."""

    shown: Shown
    seconds: float


@final
class DemoEngine:
    """The tabs of all plugins over some models.

    It keeps no state of visitors: a call names the model and gives all values. All computing happens in one thread, one call after another, so that many
    visitors do not fight for the processor.

    Arguments:
        models: names from `linearizer list pretrained`, run folders, ``local-dir:PATH``, ``hf-hub:ORG/NAME``, or such addresses by the names that visitors
            see; the whole registry when there are none.
        capacity: how many models are kept in memory.
        hub: whether visitors may name any other model of the Hub, within the bounds of `linearizer_demo.guests.HubSource`.
        tabs: the tabs by name; those of the plugins when none.

    Raises:
        ConfigError: where no tab can use any of the models.
        LinearizerError: where one of ``models`` cannot be loaded. Of the registry, it is left out with a warning.

    Example:
        >>> engine = DemoEngine(["flow.emoji64"])  # doctest: +SKIP
        >>> engine.run("one_step", "flow.emoji64", {"seed": 1}).seconds  # doctest: +SKIP
        0.21
    """

    def __init__(self, models: Sequence[str] | Mapping[str, str] = (), *, capacity: int = 16, hub: bool = True, tabs: Mapping[str, Tab] | None = None) -> None:
        chosen = models or list(plugins.specs("pretrained"))
        names = {name: uri_of(chosen[name]) for name in chosen} if isinstance(chosen, Mapping) else {name: uri_of(name) for name in chosen}
        if not names:
            raise ConfigError("there is no model to show; name one, such as a run folder, or install a package that ships some")
        self.shelf = Shelf(names, capacity=capacity, load=load, guests=HubSource() if hub else None)
        found = plugin_tabs() if tabs is None else tabs
        self._serving: dict[str, tuple[str, ...]] = dict.fromkeys(found, ())
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="linearizer-demo")
        for model in names:
            try:
                pretrained = self.shelf.get(model)
            except LinearizerError as error:
                if models:
                    raise
                warnings.warn(f"the model {model!r} is left out: {error}", stacklevel=2)
                del self.shelf.offered[model]
                continue
            for name, tab in found.items():
                if not tab.lacks(pretrained):
                    self._serving[name] += (model,)
        self.tabs: dict[str, Tab] = {name: tab for name, tab in found.items() if self._serving[name]}
        """The tabs that have something to show, by name, from left to right."""
        if not self.tabs:
            raise ConfigError(f"no tab of the demo can use {', '.join(names)}; name a model that generates, projects, stylises or predicts")

    def serving(self, tab: str) -> tuple[str, ...]:
        """The models that a tab can use, of those that are offered; its favourite first."""
        return tuple(sorted(self._serving[tab], key=lambda model: model != self.tabs[tab].favourite))

    def controls(self, tab: str, model: str) -> Sequence[Control]:
        """What can be set in a tab with this model.

        Raises:
            LinearizerError: for a model that cannot be had, or lacks what the tab needs.
        """
        return self._compute(lambda tab, pretrained: tab.controls(pretrained), tab, model)

    def run(self, tab: str, model: str, values: Mapping[str, Any] | Reader) -> Result:
        """What a tab shows for ``values``; the controls that are left out keep the value they begin with.

        Arguments:
            values: by the name of the control; or what gives them for the controls of this model, so that these are made once.

        Raises:
            ConfigError: for a value that a control does not accept, or a name that is none of theirs.
            LinearizerError: for whatever else a visitor can mend; for anything unexpected, with a message that tells nothing of it. That goes to the log.
        """
        return self._compute(lambda tab, pretrained: _show(tab, pretrained, values), tab, model)

    def _compute(self, work: Callable[[Tab, Pretrained], T], tab: str, model: str) -> T:
        if tab not in self.tabs:
            raise ConfigError(f"there is no tab {tab!r}; choose one of {', '.join(self.tabs)}")
        try:
            pretrained = self.shelf.get(model)
            return self._lane.submit(self._computed, work, tab, model, pretrained).result()
        except LinearizerError as error:
            if (told := self._without_paths(str(error), model)) == str(error):
                raise
            _log.warning("tab %s with model %s: %s", tab, model, error)
            raise LinearizerError(told) from error
        except Exception as error:
            _log.exception("tab %s with model %s failed", tab, model)
            raise LinearizerError(CALM) from error

    def _computed(self, work: Callable[[Tab, Pretrained], T], tab: str, model: str, pretrained: Pretrained) -> T:
        if model not in self.serving(tab) and (lack := self.tabs[tab].lacks(pretrained)):
            raise ConfigError(f"{model} cannot be used here: it would need {lack}; choose one of {', '.join(self.serving(tab))}")
        return work(self.tabs[tab], pretrained)

    def _without_paths(self, text: str, model: str) -> str:
        """A message for visitors: the model's name in place of folders of this machine, other than those that are offered as they are."""
        return _PATH.sub(lambda path: path[0] if path[0] in self.shelf.offered else model, text)


def _show(tab: Tab, pretrained: Pretrained, values: Mapping[str, Any] | Reader) -> Result:
    started = time.perf_counter()
    controls = {control.name: control for control in tab.controls(pretrained)}
    given = values(list(controls.values())) if callable(values) else values
    if unknown := sorted(given.keys() - controls.keys()):
        raise ConfigError(f"{', '.join(unknown)}: no such control; there are {', '.join(controls)}")
    shown = tab.show(pretrained, **{name: control.accept(given.get(name)) for name, control in controls.items()})
    return Result(shown, time.perf_counter() - started)


def plugin_tabs() -> dict[str, Tab]:
    """The tabs of all plugins by name, from left to right; one that cannot be made is left out, with a warning."""
    made: dict[str, Tab] = {}
    for name, spec in plugins.specs("tab").items():
        try:
            made[name] = spec.load_target()()
        except Exception as error:
            warnings.warn(f"the tab {name!r} is left out: {error}", stacklevel=2)
    return dict(sorted(made.items(), key=lambda item: (item[1].position, item[0])))
