"""The error of the log-determinant."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from linearizer_core.bijections import Bijection
from linearizer_core.condition import Condition
from linearizer_core.invertibility.derivatives import jacobian
from linearizer_core.invertibility.examples import require_examples


@dataclass(frozen=True)
class LogDetError:
    """Absolute errors of the log-determinant over the examples, in nats.

    Attributes:
        maximum: the largest one.
        median: the lower median.
        against_autograd: True where the reference is the Jacobian itself, False where only g and g^-1 were compared with each other.
    """

    maximum: float
    median: float
    against_autograd: bool


def logdet_error(g: Bijection, x: Tensor, condition: Condition | None = None, *, autograd_up_to: int = 128) -> LogDetError:
    r"""The error of :math:`\log|\det \partial g/\partial x|` at ``x``.

    Up to D = ``autograd_up_to`` the reference is the Jacobian by autograd, whose determinant is taken in float64: D backward passes.
    Above, it is :math:`\log|\det \partial g(x)| + \log|\det \partial g^{-1}(g(x))|`, which is zero when both directions agree. That check is weaker:
    one mistake in both directions cancels.

    Arguments:
        g: a bijection whose parameters have the dtype of ``x``; examples must not see each other.
        x: ``(B, *in_shape)``.
        condition: what g is conditioned on.
        autograd_up_to: the largest D for the Jacobian.

    Raises:
        LogDetUnavailableError: where g has no log-determinant.
        InputShapeError: for an empty batch.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import FixedAffine
        >>> logdet_error(FixedAffine((3,), shift=0.0, scale=2.0), torch.randn(4, 3)).maximum < 1e-6
        True
    """
    require_examples("logdet_error", x)
    against_autograd = g.dim <= autograd_up_to
    with torch.no_grad():
        z, logdet = g.forward_and_logdet(x, condition)
        if not against_autograd:
            _, inverse_logdet = g.inverse_and_logdet(z, condition)
            reference = -inverse_logdet.double()
    if against_autograd:
        reference = torch.linalg.slogdet(jacobian(g, x, condition).double()).logabsdet
    errors = (logdet.double() - reference).abs()
    return LogDetError(float(errors.max()), float(errors.median()), against_autograd)
