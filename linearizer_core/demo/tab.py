"""The contract of a tab of the demo: something to try with a trained model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from linearizer_core.demo.controls import Control
from linearizer_core.pretrained import Pretrained


@dataclass(frozen=True)
class Output:
    """A place where something is shown.

    Arguments:
        name: the key under which `Shown` holds it.
        label: what stands above it.
        kind: ``picture``: images ``(N, C, H, W)`` in [0, 1], side by side or in a grid; ``film``: frames ``(T, C, H, W)``, one after another; ``figure``: a
            PNG file, such as a plot.
        description: what it shows, for those who do not see it.
    """

    name: str
    label: str
    kind: Literal["picture", "film", "figure"] = "picture"
    description: str = ""


@dataclass(frozen=True)
class Fact:
    """One number worth showing large: a label, and the value as text with its unit."""

    label: str
    value: str


@dataclass(frozen=True)
class Shown:
    """What a tab shows: an image tensor or the bytes of a PNG file for each `Output`, facts, and a sentence on what is to be seen."""

    outputs: Mapping[str, Tensor | bytes]
    facts: Sequence[Fact] = field(default=())
    sentence: str = ""


class Tab(ABC):
    """One tab of the demo: constructed without arguments, it keeps no state, so that visitors and models never mix.

    Raise `linearizer_core.errors.LinearizerError` for whatever a visitor can repair: the demo shows its message.
    """

    title: ClassVar[str]
    """What stands on the tab."""
    explanation: ClassVar[str]
    """A sentence or two on what can be tried, in Markdown."""
    position: ClassVar[int] = 100
    """Where it stands: smaller ones further left."""
    favourite: ClassVar[str] = ""
    """The model to begin with, where it is among those that are offered."""

    @abstractmethod
    def lacks(self, pretrained: Pretrained) -> str:
        """What ``pretrained`` would need for this tab, such as "a core that depends on time"; empty where it has everything."""

    @abstractmethod
    def controls(self, pretrained: Pretrained) -> Sequence[Control]:
        """What can be set. Names and kinds are the same for all models, in the same order; ranges, options and examples may differ."""

    @abstractmethod
    def outputs(self) -> Sequence[Output]:
        """What is shown, in order."""

    @abstractmethod
    def show(self, pretrained: Pretrained, *_: Any, **values: Any) -> Shown:
        """The result for the accepted values of all `controls`, by name: ``show(self, pretrained, *, factor)`` for a control ``factor``.

        Nothing is passed in ``*_``: with it, type checkers let each tab name its own keywords.
        """
