"""The error of going there and back."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.errors import ConvergenceError, LatticeError, SurjectivityError
from linearizer_core.invertibility.examples import require_examples

REFUSALS = (ConvergenceError, LatticeError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What networks raise where they have no result in floating point. The measures pass it on; `measure_layers` and the monitor count it as infinitely wrong."""


@dataclass(frozen=True)
class RoundTrip:
    """Errors of a round trip: for each example the largest absolute difference of its entries, and of these maximum, median and 99th percentile.

    An example that comes back with an infinity or a NaN counts as infinitely wrong.

    Attributes:
        maximum: the largest error of all examples.
        median: half of the examples stay at or below it.
        percentile_99: 99 % of the examples stay at or below it.
        nonfinite: examples that came back with an infinity or a NaN.
        scale: the largest absolute entry of what was sent.
        examples: how many were sent.
    """

    maximum: float
    median: float
    percentile_99: float
    nonfinite: int
    scale: float
    examples: int

    @property
    def exact(self) -> bool:
        """Whether every number came back as it was; 0.0 and -0.0 are one number."""
        return self.maximum == 0

    @property
    def relative(self) -> RoundTrip:
        """The same errors in units of ``scale``; as they are where all that was sent is zero."""
        unit = self.scale or 1.0
        return replace(self, maximum=self.maximum / unit, median=self.median / unit, percentile_99=self.percentile_99 / unit, scale=self.scale / unit)


@torch.no_grad()
def round_trip(g: Bijection, x: Tensor, condition: Condition | None = None) -> RoundTrip:
    r"""The errors of :math:`g^{-1}(g(x)) - x`, in the unit of the data and the precision of ``x``.

    Under autocast conditioners are lowered, as they are in training, and the errors are those of the lowered network.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.

    Raises:
        InputShapeError: for an empty batch.
        ConvergenceError: where an iterative inverse does not reach its tolerance.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedOrthogonal
        >>> error = round_trip(FixedOrthogonal((6,), seed=0), torch.rand(8, 6))
        >>> 0 < error.median <= error.maximum < 1e-6
        True
    """
    require_examples("round_trip", x)
    return compare(g.inverse(g(x, condition), condition), x)


@torch.no_grad()
def latent_round_trip(g: Bijection, z: Tensor, condition: Condition | None = None) -> RoundTrip:
    r"""The errors of :math:`g(g^{-1}(z)) - z`, in the unit of the latent; precision as in `round_trip`.

    Arguments:
        g: a bijection whose parameters have the dtype of ``z``.
        z: ``(B, *out_shape)``.
        condition: what g is conditioned on.

    Raises:
        SurjectivityError: where g is injective but not onto: then g^-1 is only a left inverse.
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import Permutation
        >>> latent_round_trip(Permutation((4,), seed=0), torch.randn(2, 4)).exact
        True
    """
    require_examples("latent_round_trip", z)
    if not g.surjective:
        raise SurjectivityError(f"latent_round_trip: {type(g).__name__} does not reach every latent, expected a bijection; use round_trip, from data and back")
    return compare(g(g.inverse(z, condition), condition), z)


def compare(back: Tensor, sent: Tensor) -> RoundTrip:
    """The errors of what came back against what was sent."""
    errors = (back.double() - sent.double()).abs().flatten(1).amax(1)
    nonfinite = ~errors.isfinite()
    errors = errors.masked_fill(nonfinite, torch.inf).sort().values
    return RoundTrip(
        maximum=float(errors[-1]),
        median=_percentile(errors, 50),
        percentile_99=_percentile(errors, 99),
        nonfinite=int(nonfinite.sum()),
        scale=float(sent.abs().max()),
        examples=len(sent),
    )


def _percentile(ascending: Tensor, percent: int) -> float:
    """The smallest value that ``percent`` of all values stay at or below; interpolation would make NaN of infinities."""
    return float(ascending[-(-percent * len(ascending) // 100) - 1])
