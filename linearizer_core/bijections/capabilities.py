"""What a bijection made of parts can do: no more than the weakest of them."""

from __future__ import annotations

from collections.abc import Sequence

from linearizer_core.bijections.base import Bijection, InverseGrad, InverseKind
from linearizer_core.errors import BijectionError

_KINDS: tuple[InverseKind, ...] = ("analytic", "sequential", "iterative")
_GRADIENTS: tuple[InverseGrad, ...] = ("exact", "implicit", "none")


def adopt_weakest(whole: Bijection, parts: Sequence[Bijection]) -> None:
    """Give ``whole`` the capabilities that all of ``parts`` have, in the constructor of a bijection made of others.

    Arguments:
        whole: its ``inverse_kind``, ``inverse_grad``, ``has_logdet``, ``bit_exact`` and ``surjective`` are set.
        parts: at least one bijection.

    Example:
        >>> from linearizer_core.bijections import FixedOrthogonal, Identity, ZeroPadding
        >>> whole = Identity((4,))
        >>> adopt_weakest(whole, [FixedOrthogonal((3,), seed=0), ZeroPadding((3,), channels=1)])
        >>> whole.surjective
        False
    """
    whole.inverse_kind = max((part.inverse_kind for part in parts), key=_KINDS.index)
    whole.inverse_grad = max((part.inverse_grad for part in parts), key=_GRADIENTS.index)
    whole.has_logdet = all(part.has_logdet for part in parts)
    whole.bit_exact = all(part.bit_exact for part in parts)
    whole.surjective = all(part.surjective for part in parts)


def merge_conditions(parts: Sequence[Bijection]) -> dict[str, int]:
    """All conditions of ``parts``.

    Raises:
        BijectionError: when two parts give one name different numbers of categories.
    """
    merged: dict[str, int] = {}
    for part in parts:
        for name, categories in part.conditions.items():
            if merged.setdefault(name, categories) != categories:
                raise BijectionError(
                    f"condition {name!r} has {merged[name]} categories in one part and {categories} in {type(part).__name__}; give all parts the same number"
                )
    return merged
