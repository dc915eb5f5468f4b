"""Residual blocks that are invertible because their residual contracts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from linearizer_core.bijections.base import Bijection, Shape, full_precision
from linearizer_core.bijections.contractive.fixed_point import solve_fixed_point
from linearizer_core.bijections.memory.first_order import first_order_only
from linearizer_core.bijections.remembered import constant_weights
from linearizer_core.bijections.tf32 import without_tf32
from linearizer_core.condition import Condition
from linearizer_core.errors import BijectionError, LogDetUnavailableError

RESIDUAL_LOGDET_LIMIT = 64
"""Largest dimension in which `ContractiveResidual` has a log-determinant: it takes D evaluations of the residual's derivative, and a D x D determinant."""

_TOLERANCES = {torch.float64: 1e-12}
_TOLERANCE = 1e-6


@final
class ContractiveResidual(Bijection):
    r""":math:`z = x + h(x)` with a residual of Lipschitz constant at most c < 1: an i-ResNet block; Behrmann et al., arXiv 1811.00995.

    The inverse is the fixed point of :math:`x \mapsto z - h(x)`, by iteration until Banach's a-posteriori bound :math:`\tfrac{c}{1-c} |x_k - x_{k-1}|` on the
    error of every example is below the tolerance. Its gradient is implicit: the backward pass solves :math:`w = v - J_h^T w` in the same way, so that
    memory does not grow with the number of iterations. Second derivatives of the inverse are refused.

    Both directions are Lipschitz everywhere, forward with :math:`1 + c`, inverse with :math:`1/(1-c)`, provided that h keeps its promise:
    give it `LipschitzLinear` and `LipschitzConv2d` layers, or `MLPConditioner` and `ConvConditioner` with ``lipschitz``.

    The log-determinant is exact, by the Jacobian, up to 64 dimensions; above there is none. The residual runs in full precision
    even under autocast, since an iteration cannot get below the precision of its steps. ``torch.compile`` leaves the inverse as it is.

    Arguments:
        in_shape: shape of one example.
        residual: h, a module called as ``residual(x, condition)``.
        contraction: c.
        tolerance: bound on the error relative to the norm of the example; by the dtype when None: 1e-12 in float64, 1e-6 otherwise. The iteration
            also ends where its steps are rounding errors.
        max_iterations: of one inverse, and of one backward pass through it.
        conditions: names and numbers of categories that the residual uses.

    Raises:
        BijectionError: when c is not between 0 and 1, or when the residual gives another shape.
        ConvergenceError: in the inverse or its backward pass, when the iterations do not suffice; mostly the residual is not contractive then.

    Example:
        >>> import torch
        >>> from linearizer_core.bijections import MLPConditioner
        >>> block = ContractiveResidual((3,), MLPConditioner(3, 3, width=16, lipschitz=0.9), contraction=0.9)
        >>> _ = torch.nn.init.normal_(block.residual.last.weight)
        >>> x = torch.randn(2, 3)
        >>> torch.allclose(block.inverse(block(x)), x, atol=1e-5)
        True
    """

    inverse_kind = "iterative"
    inverse_grad = "implicit"

    def __init__(
        self,
        in_shape: Shape,
        residual: nn.Module,
        *,
        contraction: float,
        tolerance: float | None = None,
        max_iterations: int = 1000,
        conditions: dict[str, int] | None = None,
    ) -> None:
        super().__init__(in_shape, conditions=conditions)
        if not 0 < contraction < 1:
            raise BijectionError(f"ContractiveResidual: contraction is {contraction}, expected a number between 0 and 1, or there is no inverse")
        self.residual = residual
        self.contraction = contraction
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.has_logdet = self.dim <= RESIDUAL_LOGDET_LIMIT

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_input(x)
        return x + self._residual_of(x, condition)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        self.check_latent(z)
        fixed = z.detach()
        x = self._solve(lambda x: fixed - self._residual_of(x, condition), fixed)
        if not torch.is_grad_enabled():
            return x
        # One evaluation at the solution carries the gradient to z, to the parameters and to the conditions.
        result: Tensor = _Implicit.apply(z - self._residual_of(x, condition), x, lambda grad: self._solve_transposed(x, grad, condition))
        return result

    def forward_and_logdet(self, x: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        return self.forward(x, condition), self._logdet(x, condition)

    def inverse_and_logdet(self, z: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        self._require_logdet()
        x = self.inverse(z, condition)
        return x, -self._logdet(x, condition)

    def _solve_transposed(self, x: Tensor, grad: Tensor, condition: Condition | None) -> Tensor:
        """:math:`(I + J_h(x))^{-T}` times the gradient."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            image = self._residual_of(leaf, condition)

        def step(w: Tensor) -> Tensor:
            with full_precision(w):
                return grad - torch.autograd.grad(image, leaf, w, retain_graph=True)[0]

        return self._solve(step, grad)

    def _solve(self, step: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
        tolerance = _TOLERANCES.get(start.dtype, _TOLERANCE) if self.tolerance is None else self.tolerance
        name = f"ContractiveResidual{self.in_shape}"
        with constant_weights():
            return solve_fixed_point(step, start, name=name, contraction=self.contraction, tolerance=tolerance, max_iterations=self.max_iterations)

    def _residual_of(self, x: Tensor, condition: Condition | None) -> Tensor:
        with full_precision(x), without_tf32(x):
            image: Tensor = self.residual(x, condition)
        if image.shape != x.shape:
            raise BijectionError(f"ContractiveResidual: the residual maps {tuple(x.shape)} to {tuple(image.shape)}, expected the same shape")
        return image

    def _logdet(self, x: Tensor, condition: Condition | None) -> Tensor:
        """The determinant of I + J, whose rows are derivatives of copies of the batch, one for each output coordinate."""
        keep_graph, dim = torch.is_grad_enabled(), self.dim
        with torch.enable_grad(), full_precision(x):
            example = torch.arange(len(x), device=x.device).repeat_interleave(dim)
            copies = x[example] if keep_graph and x.requires_grad else x[example].detach().requires_grad_()
            image = self._residual_of(copies, condition.rows(example) if condition is not None else None)
            identity = torch.eye(dim, dtype=x.dtype, device=x.device)
            (rows,) = torch.autograd.grad(image, copies, identity.repeat(len(x), 1).reshape(copies.shape), create_graph=keep_graph)
            jacobian = identity + rows.reshape(len(x), dim, dim)
            logdet: Tensor = torch.linalg.slogdet(jacobian if keep_graph else jacobian.detach()).logabsdet
            return logdet

    def _require_logdet(self) -> None:
        if not self.has_logdet:
            raise LogDetUnavailableError(
                f"ContractiveResidual{self.in_shape}: {self.dim} dimensions, the exact log-determinant is offered up to {RESIDUAL_LOGDET_LIMIT}; "
                "use a backbone with an analytic log-determinant, such as coupling, or fewer dimensions"
            )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, contraction={self.contraction:.4g}"


class _Implicit(torch.autograd.Function):
    """The solution, with the gradient of the explicit step multiplied by the inverse of the transposed Jacobian."""

    @staticmethod
    def forward(ctx: Any, explicit: Tensor, solution: Tensor, solve_transposed: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.solve_transposed = solve_transposed
        return solution.view_as(solution)

    @staticmethod
    @first_order_only("the inverse of ContractiveResidual; differentiate its forward pass twice, or use a backbone with an analytic inverse")
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.solve_transposed(grad), None, None
