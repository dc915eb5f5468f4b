r"""Projectors, :math:`A A = A`: the cores of idempotent networks, which map everything onto what A keeps (arXiv 2510.08570, idempotent networks).

- `linearizer_operators.projectors.selection`: which coordinates are kept, and the gradient that changes it
- `linearizer_operators.projectors.mask`: onto coordinates
- `linearizer_operators.projectors.rotated`: onto coordinates of a rotated space
- `linearizer_operators.projectors.oblique`: along directions that are not orthogonal to what is kept
"""

from __future__ import annotations

from linearizer_core.cores import CoreOperator
from linearizer_operators.config import ProjectorConfig
from linearizer_operators.projectors.mask import MaskProjector
from linearizer_operators.projectors.oblique import ObliqueProjector
from linearizer_operators.projectors.rotated import RotatedProjector


def projector(shape: tuple[int, int], config: ProjectorConfig, conditions: dict[str, int] | None = None) -> CoreOperator:
    """The projector that ``config.form`` names.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.
    """
    match config.form:
        case "mask" | "top_k":
            return MaskProjector(shape, config)
        case "rotated":
            return RotatedProjector(shape, config)
        case "oblique":
            return ObliqueProjector(shape, config)
