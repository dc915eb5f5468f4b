"""What of a benchmark is compared with an earlier run, and how much worse it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, final

Kind = Literal["error", "count", "speedup", "overhead", "memory", "exponent", "seconds", "bytes"]


@final
@dataclass(frozen=True)
class Rule:
    """``better`` is the better direction; ``factor`` what a figure may be worse by, times or (``additive``) plus; None: shown, not judged."""

    better: Literal["lower", "higher"]
    factor: float | None
    meaning: str
    additive: bool = False


RULES: dict[Kind, Rule] = {
    "count": Rule("lower", 1.0, "number of evaluations or of loaded modules"),
    "error": Rule("lower", 3.0, "relative error; rounding differs between processors"),
    "speedup": Rule("higher", 2.0, "how many times faster, within one run"),
    "overhead": Rule("lower", 1.1, "time as a multiple of something close, within one run"),
    "memory": Rule("lower", 1.25, "peak memory as a part of another's, within one run"),
    "exponent": Rule("lower", 0.3, "exponent of growth", additive=True),
    "seconds": Rule("lower", None, "seconds: of this machine only"),
    "bytes": Rule("lower", None, "bytes: of this system only"),
}
"""Machine-independent kinds first; the order of the comparison."""


@final
@dataclass(frozen=True)
class Figure:
    """One number of a benchmark.

    Example:
        >>> Figure(12.0, "speedup").is_worse_than(Figure(30.0, "speedup")), Figure(20.0, "speedup").is_worse_than(Figure(30.0, "speedup"))
        (True, False)
    """

    value: float
    kind: Kind
    extrapolated: bool = False

    def is_worse_than(self, earlier: Figure) -> bool:
        """Whether this one is worse by more than its kind allows; never for a kind that is not judged."""
        rule = RULES[self.kind]
        if rule.factor is None:
            return False
        if rule.additive:
            good = self.value <= earlier.value + rule.factor
        elif rule.better == "lower":
            good = self.value <= earlier.value * rule.factor
        else:
            good = self.value * rule.factor >= earlier.value
        return not good  # asked this way round, NaN is worse than everything

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "kind": self.kind, "extrapolated": self.extrapolated}
