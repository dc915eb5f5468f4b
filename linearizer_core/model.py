"""The model: two bijections and a core between them."""

from __future__ import annotations

from torch import nn

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.cores import CoreOperator
from linearizer_core.errors import ShapeMismatchError
from linearizer_core.linearizer import Linearizer
from linearizer_core.operators import LinearOperator
from linearizer_core.space import InducedSpace, require_surjective


class LinearizerModel(nn.Module):
    """Holds gx, gy and the core, and hands out `Linearizer` objects.

    ``gx`` is the bijection of the domain, ``gy`` that of the codomain; they may be one object, and are then saved once. In flow matching the
    domain is noise and the codomain is data.

    Args:
        gx: bijection of the domain, dimension n.
        core: the core operator, shape ``(m, n)``.
        gy: bijection of the codomain, dimension m; gx when left out.

    Raises:
        SurjectivityError: when a bijection declares that it does not reach every latent.
        ShapeMismatchError: when the core does not fit the bijections.
    """

    def __init__(self, gx: Bijection, core: CoreOperator, gy: Bijection | None = None) -> None:
        super().__init__()
        self.gx = gx
        self.core = core
        self.gy = gx if gy is None else gy
        for bijection in (self.gx, self.gy):
            require_surjective(bijection)
        if core.shape != (self.gy.dim, self.gx.dim):
            raise ShapeMismatchError(f"the core has shape {core.shape}, the bijections need {(self.gy.dim, self.gx.dim)}")

    @property
    def conditions(self) -> dict[str, int]:
        """All categorical conditions in use: name to number of categories."""
        return {**self.gx.conditions, **self.core.conditions, **self.gy.conditions}

    def domain(self, condition: Condition | None = None) -> InducedSpace:
        """The induced space of gx, under those of the conditions that gx uses."""
        return _space(self.gx, condition)

    def codomain(self, condition: Condition | None = None) -> InducedSpace:
        """The induced space of gy, under those of the conditions that gy uses."""
        return _space(self.gy, condition)

    def linearizer(self, operator: LinearOperator | None = None, condition: Condition | None = None) -> Linearizer:
        """The map with ``operator`` (the core's own under ``condition`` when left out) between the two induced spaces."""
        operator = self.core.operator(condition) if operator is None else operator
        return Linearizer(self.domain(condition), operator, self.codomain(condition))


def _space(bijection: Bijection, condition: Condition | None) -> InducedSpace:
    # What only the core uses (a style, a time) must not tell two spaces apart: maps of different styles compose and mix.
    return InducedSpace(bijection, condition.only(bijection.conditions) if condition is not None else None)
