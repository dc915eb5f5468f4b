"""Couplings that move coordinates along monotone splines."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Shape
from linearizer_core.bijections.couplings.coupling import Coupling
from linearizer_core.bijections.couplings.masks import MaskName
from linearizer_core.bijections.couplings.spline import rational_quadratic_spline
from linearizer_core.errors import BijectionError

_SMALLEST_SHARE = 0.1
"""Width of the narrowest bin possible, in units of the mean width."""


@final
class SplineCoupling(Coupling):
    r""":math:`z_a = x_a,\; z_b = S_{\theta(x_a)}(x_b)` with a monotone spline S of rational quadratics per coordinate; Durkan et al., arXiv 1906.04032.

    S is the identity outside :math:`[-B, B]`. Its derivative lies in :math:`[1/m, m]` everywhere and for every output of the conditioner,
    so the inverse loses no more digits than that, and where nothing was learned it does nothing. S is computed in float64 and rounded once: in float32 its
    knots, sums of softmax outputs, carry ten times the rounding of an affine coupling, other ones on each way through a deep chain.

    Arguments:
        in_shape: shape of one example.
        conditioner: module called as ``conditioner(kept, condition)``, giving for each changed coordinate K raw widths, K raw slopes and
            K - 1 raw derivatives (``(3 * bins - 1) * changed`` channels, see `coupling_sizes`). Zeros make the identity.
        split: size of the leading part of ``mask = "halves"``, half by default.
        flip: exchange the two parts.
        mask: ``halves``, ``alternating`` or ``checkerboard``: which part is kept, see `coupling_sizes`.
        bins: K.
        interval: B.
        slope_bound: m.
        conditions: names and numbers of categories that the conditioner uses.

    Raises:
        BijectionError: when the mask does not fit the shape, when the conditioner's output has another number of channels, or for fewer
            than 2 bins, an interval that is not positive, or a slope bound that is not above 1.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> coupling = SplineCoupling((4,), MLPConditioner(2, 2 * 23, width=8))
        >>> x = torch.randn(3, 4)
        >>> torch.allclose(coupling(x), x, atol=1e-6)  # zero-initialised
        True
    """

    def __init__(
        self,
        in_shape: Shape,
        conditioner: nn.Module,
        *,
        split: int | None = None,
        flip: bool = False,
        mask: MaskName = "halves",
        bins: int = 8,
        interval: float = 3.0,
        slope_bound: float = 4.0,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditioner, split=split, flip=flip, mask=mask, conditions=conditions)
        if bins < 2 or not interval > 0 or not slope_bound > 1:
            raise BijectionError(
                f"SplineCoupling: bins = {bins}, interval = {interval}, slope_bound = {slope_bound}; expected at least 2 bins, interval > 0, slope_bound > 1"
            )
        self.outputs_per_channel = 3 * bins - 1
        self.bins = bins
        self.interval = interval
        self.slope_bound = slope_bound

    def _apply_to_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._spline(changed, output, inverse=False)

    def _undo_on_changed(self, changed: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
        return self._spline(changed, output, inverse=True)

    def _spline(self, changed: Tensor, output: Tensor, *, inverse: bool) -> tuple[Tensor, Tensor]:
        dtype, changed = changed.dtype, changed.double()
        raw = output.double().reshape(len(output), self.outputs_per_channel, *changed.shape[1:]).movedim(1, -1)  # (B, changed, ..., 3 K - 1)
        raw_widths, raw_slopes, raw_derivatives = raw[..., : self.bins], raw[..., self.bins : 2 * self.bins], raw[..., 2 * self.bins :]
        shares = (1 - _SMALLEST_SHARE) * raw_widths.softmax(-1) + _SMALLEST_SHARE / self.bins
        # Slopes and derivatives in [1/a, a] keep every derivative of the spline in [1/a^3, a^3]. Scaling the heights to their sum divides
        # the slopes by a mean of them, so half of log(a) is left to each slope.
        log_a = math.log(self.slope_bound) / 3
        heights = shares * _bounded(raw_slopes, log_a / 2).exp()
        image, log_derivative = rational_quadratic_spline(
            changed,
            2 * self.interval * shares,
            2 * self.interval * heights / heights.sum(-1, keepdim=True),
            _bounded(raw_derivatives, log_a).exp(),
            interval=self.interval,
            inverse=inverse,
        )
        return image.to(dtype), log_derivative.flatten(1).sum(1).to(dtype)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bins={self.bins}, interval={self.interval}, slope_bound={self.slope_bound}"


def _bounded(raw: Tensor, bound: float) -> Tensor:
    return bound * torch.tanh(raw / bound)
