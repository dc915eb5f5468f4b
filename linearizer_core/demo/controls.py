"""What a visitor can set in a tab: each control has a name, a label, a value to begin with, and says which values it accepts.

A control draws nothing. Whatever shows it (a browser, a test) hands `Control.accept` what it was given, and gets the value that the tab works with.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, final

from torch import Tensor

from linearizer_core.errors import ConfigError

LARGEST_SEED = 2**31 - 1
MOST_WEIGHTS = 12
"""Names that one `Weights` control holds at most."""


@dataclass(frozen=True, eq=False)
class Control(ABC):
    """One thing to set.

    Arguments:
        name: the keyword of its value, also in programs that call the demo.
        label: what stands beside it.
        info: a sentence on what it does.
    """

    name: str
    label: str
    _: KW_ONLY
    info: str = ""

    @abstractmethod
    def accept(self, given: Any) -> Any:
        """The value that is meant; None stands for the value to begin with.

        Raises:
            ConfigError: for a value out of range or of another type.
        """

    def _refuse(self, given: Any, expected: str) -> ConfigError:
        return ConfigError(f"{self.name} = {given!r}: expected {expected}")


@final
@dataclass(frozen=True, eq=False)
class Slider(Control):
    """A number between two others, in steps; whole where the step is.

    Example:
        >>> Slider("rank", "Rank", minimum=1, maximum=32, value=8).accept(12)
        12
        >>> Slider("strength", "Strength", minimum=0, maximum=2, value=1, step=0.05).accept(None)
        1.0
    """

    _: KW_ONLY
    minimum: float
    maximum: float
    value: float
    step: float = 1

    def accept(self, given: Any) -> int | float:
        chosen = self.value if given is None else given
        if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not self.minimum <= chosen <= self.maximum:
            raise self._refuse(given, f"a number from {self.minimum:g} to {self.maximum:g}")
        return round(chosen) if isinstance(self.step, int) else float(chosen)


@final
@dataclass(frozen=True, eq=False)
class Seed(Control):
    """The seed of all noise: the same one gives the same result."""

    name: str = "seed"
    label: str = "Seed"
    _: KW_ONLY
    value: int = 0

    def accept(self, given: Any) -> int:
        chosen = self.value if given is None else given
        if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not 0 <= chosen <= LARGEST_SEED or chosen != math.floor(chosen):
            raise self._refuse(given, f"a whole number from 0 to {LARGEST_SEED}")
        return int(chosen)


@final
@dataclass(frozen=True, eq=False)
class Choice(Control):
    """One of several words.

    Example:
        >>> Choice("solver", "Solver", options=("euler", "rk4")).accept("heun")
        Traceback (most recent call last):
        linearizer_core.errors.ConfigError: solver = 'heun': expected one of euler, rk4
    """

    _: KW_ONLY
    options: tuple[str, ...]
    value: str | None = None

    def accept(self, given: Any) -> str:
        chosen = (self.value or self.options[0]) if given is None else given
        if chosen not in self.options:
            raise self._refuse(given, f"one of {', '.join(self.options)}")
        return str(chosen)


@final
@dataclass(frozen=True, eq=False)
class Toggle(Control):
    """Yes or no."""

    _: KW_ONLY
    value: bool = False

    def accept(self, given: Any) -> bool:
        chosen = self.value if given is None else given
        if not isinstance(chosen, bool):
            raise self._refuse(given, "true or false")
        return chosen


@final
@dataclass(frozen=True, eq=False)
class Weights(Control):
    """A number for each of several names, such as the weights of styles; 0 for those left out.

    Example:
        >>> Weights("styles", "Styles", names=("candy", "udnie"), value={"candy": 1.0}).accept({"udnie": 0.5})
        {'candy': 0.0, 'udnie': 0.5}

    Raises:
        ConfigError: for more than `MOST_WEIGHTS` names.
    """

    _: KW_ONLY
    names: tuple[str, ...]
    value: Mapping[str, float]
    minimum: float = 0.0
    maximum: float = 1.0
    step: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MOST_WEIGHTS:
            raise ConfigError(f"{self.name} holds {len(self.names)} names, expected 1 to {MOST_WEIGHTS}")

    def accept(self, given: Any) -> dict[str, float]:
        chosen = self.value if given is None else given
        if not isinstance(chosen, Mapping) or set(chosen) - set(self.names):
            raise self._refuse(given, f"a number for each name, the names among {', '.join(self.names)}")
        weights = {name: chosen.get(name, 0.0) for name in self.names}
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not self.minimum <= weight <= self.maximum:
                raise self._refuse(given, f"numbers from {self.minimum:g} to {self.maximum:g} ({name} is out of range)")
        return {name: float(weight) for name, weight in weights.items()}


@final
@dataclass(frozen=True, eq=False)
class Picture(Control):
    """A picture of the visitor's, or one of ``examples``; the value is a float32 tensor ``(C, H, W)`` in [0, 1].

    Arguments:
        shape: the shape ``(C, H, W)`` that uploads are scaled and cropped to; any size, in colour, when none.
        examples: pictures ``(N, C, H, W)`` to choose from.
        value: the example to begin with.
        optional: whether there may be no picture at all; the value is None then.
    """

    _: KW_ONLY
    shape: tuple[int, int, int] | None = None
    examples: Tensor | None = None
    value: int = 0
    optional: bool = False

    def accept(self, given: Any) -> Tensor | None:
        """The tensor of an upload as it is; the example of a number."""
        count = 0 if self.examples is None else len(self.examples)
        if isinstance(given, Tensor):
            if given.ndim != 3 or (self.shape is not None and tuple(given.shape) != self.shape):
                raise self._refuse(tuple(given.shape), f"a picture of shape {self.shape or '(3, H, W)'}")
            return given
        if given is None and (self.optional or not count):
            if self.optional:
                return None
            raise ConfigError(f"{self.label}: there is no picture yet; upload one")
        number = self.value if given is None else given
        if self.examples is None or isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
            raise self._refuse(given, f"a picture, or the number of an example, 0 to {count - 1}" if count else "a picture")
        return self.examples[number]


@final
@dataclass(frozen=True, eq=False)
class Sketch(Control):
    """What a visitor draws, bright strokes on black, scaled to ``shape``; None until something is drawn."""

    _: KW_ONLY
    shape: tuple[int, int, int]

    def accept(self, given: Any) -> Tensor | None:
        if given is None:
            return None
        if not isinstance(given, Tensor) or tuple(given.shape) != self.shape:
            raise self._refuse(tuple(given.shape) if isinstance(given, Tensor) else given, f"a drawing of shape {self.shape}")
        return given if bool(given.any()) else None
