"""One set of parameters for each category of a condition."""

from __future__ import annotations

from linearizer_core.condition import Condition, require_label
from linearizer_core.errors import ConfigError


class Categories:
    """The condition that chooses among sets of parameters; without one there is a single set.

    Raises:
        ConfigError: for more than one condition.
    """

    def __init__(self, core: str, conditions: dict[str, int] | None) -> None:
        if conditions and len(conditions) > 1:
            raise ConfigError(f"{core}: conditions {sorted(conditions)}, expected one at most: it keeps one operator for each category")
        self.name, self.count = next(iter(conditions.items())) if conditions else ("", 1)

    def chosen(self, condition: Condition | None) -> int:
        """The number of the set under ``condition``.

        Raises:
            ConditionError: when the condition is missing, out of range, or differs among examples: one call makes one operator.
        """
        return int(require_label(condition, self.name, self.count, 1)[0]) if self.name else 0
