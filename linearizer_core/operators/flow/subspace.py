"""Straight flows whose end points lie in one subspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from linearizer_core.operators.base import LinearOperator
from linearizer_core.operators.flow.coordinates import Coordinates
from linearizer_core.operators.flow.frames import Frame, SubspaceFrame
from linearizer_core.operators.flow.velocity import Flow, require_before_the_end
from linearizer_core.operators.matrix_functions import inverse
from linearizer_core.operators.shared_subspace import SharedSubspace
from linearizer_core.operators.tall import inner_products


@final
class SubspaceFlow(Flow):
    r"""The flow of end points :math:`A_t = U C(t) V^T` with :math:`V^T U C(t) = I + (1-t) K(t)`.

    On :math:`q = V^T z` it is :math:`\dot q = K(t) q`; the rest shrinks at the rate 1/(1-t), over [a, b] by :math:`(1-b)/(1-a)`. In the ``regular`` form that
    factor is taken exactly and the solver sees K alone, which is regular up to t = 1; otherwise the solver integrates the rate too, as published.
    Composed in R dimensions: after one :math:`V^T U` nothing costs more with a larger D.

    Arguments:
        left: U, ``(D, R)``.
        right: V, ``(D, R)``.
        generator: K at times ``(N,)`` (float64 on the CPU): ``(N, R, R)``, where and in the dtype in which U is.
        regular: whether the factor of the rest is taken exactly.

    Raises:
        SingularOperatorError: from its methods, where V^T U is singular.

    Example:
        >>> import torch
        >>> from linearizer_core.operators.flow import SubspaceFlow, collapse, time_grid
        >>> u = torch.eye(4, 2)
        >>> grow = SubspaceFlow(u, u, lambda times: torch.eye(2).expand(len(times), 2, 2), regular=True)
        >>> collapse(grow, time_grid(8, "limit"), "rk4").to_dense().diagonal()
        tensor([2.7183, 2.7183, 0.0000, 0.0000], dtype=torch.float64)
    """

    def __init__(self, left: Tensor, right: Tensor, generator: Callable[[Tensor], Tensor], *, regular: bool) -> None:
        self.left = left
        self.right = right
        self.generator = generator
        self.regular = regular

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        inside, rates = self.generator(times).double(), self._rates(times)
        one = torch.eye(len(self.gram), dtype=torch.float64, device=self.left.device)
        cores = self._inverse_gram @ (inside - rates[:, None, None] * one)
        return [SharedSubspace(rate, self.left, core, self.right, self.gram) for rate, core in zip(rates.tolist(), cores, strict=True)]

    def factor(self, start: float, stop: float) -> LinearOperator | None:
        if not self.regular:
            return None
        shrink = (1 - stop) / (1 - start)
        return SharedSubspace(shrink, self.left, (1 - shrink) * self._inverse_gram, self.right, self.gram)

    def probe(self, time: float) -> LinearOperator:
        return SharedSubspace(0.0, self.left, torch.zeros_like(self.gram), self.right, self.gram)

    def coordinates(self, frame: Frame, times: Tensor, dtype: torch.dtype) -> Coordinates | None:
        assert isinstance(frame, SubspaceFrame)
        return frame.coordinates_inside(self._rates(times).to(dtype), self.generator(times).to(dtype))

    @cached_property
    def gram(self) -> Tensor:
        """V^T U in float64, ``(R, R)``."""
        if torch.is_grad_enabled() and (self.left.requires_grad or self.right.requires_grad):
            return (self.right.mT @ self.left).double()  # by blocks the graph would keep U and V in float64
        return inner_products(self.right, self.left, torch.float64)

    @cached_property
    def _inverse_gram(self) -> Tensor:
        return inverse(self.gram, torch.finfo(torch.float64).eps)

    def _rates(self, times: Tensor) -> Tensor:
        """The velocity of the rest, ``(N,)``."""
        if self.regular:
            return torch.zeros(len(times), dtype=torch.float64, device=self.left.device)
        require_before_the_end(times.max().item())
        return (-1 / (1 - times)).to(self.left.device)
