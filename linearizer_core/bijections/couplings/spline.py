"""Monotone splines of rational quadratics, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor


def rational_quadratic_spline(
    x: Tensor, widths: Tensor, heights: Tensor, derivatives: Tensor, *, interval: float, inverse: bool = False
) -> tuple[Tensor, Tensor]:
    r"""Map every element of ``x`` by its own spline on :math:`[-B, B]`, and by the identity outside; Durkan et al., arXiv 1906.04032.

    In a bin of width w, height h and slope :math:`s = h / w`, with derivatives :math:`d_0, d_1` at its ends and :math:`\xi = (x - x_0) / w`,

    .. math:: y = y_0 + h\, \frac{s \xi^2 + d_0\, \xi (1 - \xi)}{s + (d_0 + d_1 - 2 s)\, \xi (1 - \xi)} .

    The derivative is continuous, and 1 at both ends of the interval. When all s and d lie in [1/a, a], it lies in [1/a^3, a^3].

    Arguments:
        x: any shape ``(...)``.
        widths: of the K bins, ``(..., K)``, positive, with sum 2B.
        heights: of the K bins, ``(..., K)``, positive, with sum 2B.
        derivatives: at the K - 1 knots between the bins, ``(..., K - 1)``, positive.
        interval: B.
        inverse: map y to x.

    Returns:
        The image and the logarithm of the derivative of what was applied, both of the shape of ``x``.

    Example:
        >>> x, bins = torch.tensor([-0.5, 0.0, 0.5, 7.0]), torch.ones(4, 2)
        >>> y, log_derivative = rational_quadratic_spline(x, bins, bins, torch.full((4, 1), 2.0), interval=1.0)
        >>> y.tolist()
        [-0.6000000238418579, 0.0, 0.6000000238418579, 7.0]
        >>> torch.allclose(rational_quadratic_spline(y, bins, bins, torch.full((4, 1), 2.0), interval=1.0, inverse=True)[0], x)
        True
    """
    inside = x.abs() <= interval
    position = x.clamp(-interval, interval)
    x_knots, y_knots = _knots(widths, interval), _knots(heights, interval)
    ones = torch.ones_like(derivatives[..., :1])
    slopes_at_knots = torch.cat([ones, derivatives, ones], -1)
    inner = (y_knots if inverse else x_knots)[..., 1:-1]
    left = (position.unsqueeze(-1) >= inner).sum(-1, keepdim=True)
    x0, y0, d0 = (each.gather(-1, left).squeeze(-1) for each in (x_knots, y_knots, slopes_at_knots))
    x1, y1, d1 = (each.gather(-1, left + 1).squeeze(-1) for each in (x_knots, y_knots, slopes_at_knots))
    width, height = x1 - x0, y1 - y0
    slope = height / width
    excess = d0 + d1 - 2 * slope
    if inverse:
        fraction = _solve((position - y0) / height, slope, d0, excess)
        image = x0 + width * fraction
    else:
        fraction = (position - x0) / width
        overlap = fraction * (1 - fraction)
        image = y0 + height * (slope * fraction.square() + d0 * overlap) / (slope + excess * overlap)
    overlap = fraction * (1 - fraction)
    numerator = d1 * fraction.square() + 2 * slope * overlap + d0 * (1 - fraction).square()
    log_derivative = 2 * slope.log() + numerator.log() - 2 * (slope + excess * overlap).log()
    log_derivative = torch.where(inside, -log_derivative if inverse else log_derivative, torch.zeros_like(x))
    return torch.where(inside, image, x), log_derivative


def _knots(lengths: Tensor, interval: float) -> Tensor:
    """The K + 1 ends of K bins; the outermost lie on the ends of the interval to the bit."""
    inner = lengths[..., :-1].cumsum(-1) - interval
    end = torch.full_like(lengths[..., :1], interval)
    return torch.cat([-end, inner, end], -1)


def _solve(level: Tensor, slope: Tensor, d0: Tensor, excess: Tensor) -> Tensor:
    r"""The root :math:`\xi` in [0, 1] of :math:`(s - b) \xi^2 + b \xi - s \tau = 0` with :math:`b = d_0 - \tau (d_0 + d_1 - 2 s)`, at ``level`` tau."""
    linear = d0 - level * excess
    root = (linear.square() + 4 * (slope - linear) * slope * level).sqrt()
    # The other textbook form divides by s - b, which is zero where the piece is nearly straight.
    return 2 * slope * level / (root + linear)
