"""The end-point predictor of a flow between Gaussians, and its exact flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, final

import torch
from torch import Tensor

from linearizer_core.cores import TimeDependentCore
from linearizer_core.errors import ConfigError, DataError, NoTerminalLimitError, NotInitializedError
from linearizer_core.operators import Diagonal, LinearOperator, Mask, SharedSubspace
from linearizer_core.operators.flow import OPEN_SOLVERS, SOLVERS, TERMINALS, AdaptiveGrid, Flow, Terminal
from linearizer_operators.config import GaussianConfig
from linearizer_operators.shapes import square_dim


@final
class GaussianCore(TimeDependentCore):
    r"""The best linear end-point predictor :math:`A_t = t S_1 (t^2 S_1 + (1-t)^2 I)^{-1}` from noise N(0, I) to latents of second moment :math:`S_1`.

    :math:`S_1 = V \mathrm{diag}(s) V^T + s_\perp (I - V V^T)`. With basis "leading" V is the first R coordinates, s = 1 and :math:`s_\perp = 0`, for
    latents that the bijection whitens; with "principal" V, s and :math:`s_\perp` are buffers set by `fit`. Nothing is learned by gradient.
    The flow is known exactly, solver "exact": :math:`(S_b S_a^{-1})^{1/2}` over [a, b] with :math:`S_t = t^2 S_1 + (1-t)^2 I`; from 0 to 1 on
    whitened latents it is the projector onto the leading coordinates. With the terminal rule "limit" the other solvers, too, take the factor
    (1-b)/(1-a) of coordinates without variance exactly; all else is regular up to t = 1.

    Raises:
        ShapeMismatchError: for a shape that is not square, or smaller than the rank.
        NotInitializedError: when a core with basis "principal" is used before `fit`.

    Example:
        >>> import torch
        >>> from linearizer_operators.config import GaussianConfig
        >>> core = GaussianCore((4, 4), GaussianConfig(rank=2))
        >>> core.one_step().mask
        tensor([ True,  True, False, False])
    """

    solvers: ClassVar[tuple[str, ...]] = (*SOLVERS, "exact")
    terminals: ClassVar[tuple[Terminal, ...]] = TERMINALS
    default_solver: ClassVar[str] = "exact"
    default_terminal: ClassVar[Terminal] = "limit"
    basis: Tensor
    variance: Tensor
    tail_variance: Tensor
    fitted: Tensor

    def __init__(self, shape: tuple[int, int], config: GaussianConfig, conditions: dict[str, int] | None = None) -> None:
        super().__init__(square_dim(type(self).__name__, shape, config.rank))
        self.rank = config.rank
        self.leading_rank = config.rank if config.basis == "leading" else None
        if self.leading_rank is None:
            self.register_buffer("basis", torch.eye(self.dim, config.rank))
            self.register_buffer("fitted", torch.tensor(False))
        self.register_buffer("variance", torch.ones(config.rank))
        self.register_buffer("tail_variance", torch.zeros(()))

    @torch.no_grad()
    def fit(self, latents: Tensor) -> None:
        """Set V and s to the leading eigenpairs of the second moment of ``latents`` ``(N, D)``, the rest of the variance to its mean.

        The moment is not centred: A_t has no offset, and among operators without one this is the best.

        Raises:
            ConfigError: with basis "leading", where nothing is fitted.
            DataError: when there are fewer latents than the rank, or some are not finite.
        """
        if self.leading_rank is not None:
            raise ConfigError("GaussianCore.fit: basis is 'leading', where variances are 1 and 0 by construction; set basis = 'principal' to fit them")
        if latents.ndim != 2 or latents.shape[1] != self.dim or len(latents) < self.rank or not bool(latents.isfinite().all()):
            raise DataError(f"GaussianCore.fit: latents of shape {tuple(latents.shape)}, expected at least {self.rank} finite rows of {self.dim}")
        wide = latents.double()
        if len(wide) < self.dim:
            _, values, vectors = torch.linalg.svd(wide, full_matrices=False)
            variances, basis = values**2 / len(wide), vectors.mT
        else:
            variances, basis = (part.flip(-1) for part in torch.linalg.eigh(wide.mT @ wide / len(wide)))
        # Variances that are nothing but rounding are none: with them the flow has a limit that no number of steps comes near to.
        variances = variances.where(variances > torch.finfo(torch.float64).eps * self.dim * variances.max(), torch.zeros_like(variances))
        self.basis.copy_(basis[:, : self.rank])
        self.variance.copy_(variances[: self.rank].clamp(min=0))
        self.tail_variance.copy_(variances[self.rank :].clamp(min=0).sum() / max(1, self.dim - self.rank))
        self.fitted.fill_(True)

    def at(self, t: float) -> LinearOperator:
        return self._operator(*(_end_point(t, moment) for moment in self._moments()), dtype=self.variance.dtype)

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        r"""The velocities in their regular form, :math:`(t S_1 - (1-t) I)(t^2 S_1 + (1-t)^2 I)^{-1}`: at t = 1 too where S_1 is regular.

        Raises:
            NoTerminalLimitError: at t = 1 where a variance is 0.
        """
        if times.max().item() >= 1 and any(bool((moment == 0).any()) for moment in self._moments()):
            raise NoTerminalLimitError(
                f"GaussianCore: the velocity at t = {times.max().item()} of a coordinate without variance is infinite, expected t < 1; use the terminal rule "
                f"'limit', the solver 'exact', or one that never evaluates its end point ({', '.join(OPEN_SOLVERS)})"
            )
        return [self._operator(*(_velocity(t, moment) for moment in self._moments()), dtype=self.variance.dtype) for t in times.tolist()]

    def flow(self, terminal: Terminal = "early") -> Flow:
        return _GaussianLimit(self) if terminal == "limit" else super().flow(terminal)

    def predict(self, z: Tensor, t: Tensor) -> Tensor:
        self.check_batch(z, t)
        times = t[:, None].double()
        inside, outside = (_end_point(times, moment).to(z.dtype) for moment in self._moments())
        if self.leading_rank is not None:
            return torch.cat([inside * z[:, : self.rank], outside * z[:, self.rank :]], dim=1)
        basis = self.basis.to(z.dtype)
        return outside * z + ((inside - outside) * (z @ basis)) @ basis.mT

    @torch.no_grad()
    def propagator(
        self, grid: Tensor, solver: str = "euler", *, terminal: Terminal = "early", rtol: float | None = None, dtype: torch.dtype = torch.float64
    ) -> LinearOperator:
        if solver != "exact":
            return super().propagator(grid, solver, terminal=terminal, rtol=rtol, dtype=dtype)
        self.check_terminal(terminal)
        times = self.check_flow(grid, solver)
        return self._exact(times[0], times[-1]).to(dtype)

    def integrate(self, z: Tensor, grid: Tensor, solver: str = "euler", *, terminal: Terminal = "early") -> Tensor:
        if solver != "exact":
            return super().integrate(z, grid, solver, terminal=terminal)
        self.check_terminal(terminal)
        for start, stop in pairwise(self.check_flow(grid, solver)):
            z = self._exact(start, stop).to(z.dtype)(z)
        return z

    def adaptive_grid(self, *, tol: float, solver: str | None = None, terminal: Terminal | None = None, start: float = 0.0, stop: float = 1.0) -> AdaptiveGrid:
        if (solver or self.default_solver) != "exact":
            return super().adaptive_grid(tol=tol, solver=solver, terminal=terminal, start=start, stop=stop)
        grid = torch.tensor([start, stop], dtype=torch.float64)
        self.check_flow(grid, "exact")
        return AdaptiveGrid(grid, 0.0, 0)

    def extra_repr(self) -> str:
        return f"{self.dim}, rank={self.rank}, basis={'principal' if self.leading_rank is None else 'leading'}"

    def _exact(self, start: float, stop: float) -> LinearOperator:
        return self._operator(*((_second_moment(stop, moment) / _second_moment(start, moment)).sqrt() for moment in self._moments()), dtype=torch.float64)

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self.leading_rank is None and not self.fitted:
            raise NotInitializedError("GaussianCore: basis is 'principal' and nothing was fitted yet; call fit(latents) first, or set basis = 'leading'")
        return self.variance.double(), self.tail_variance.double()

    def _operator(self, inside: Tensor, outside: Tensor, *, dtype: torch.dtype) -> LinearOperator:
        """The operator with eigenvalues ``inside`` ``(R,)`` on V and ``outside`` () on its complement."""
        if self.leading_rank is None:
            return SharedSubspace(outside.to(dtype), self.basis, torch.diag(inside - outside).to(dtype), self.basis)
        values = torch.cat([inside, outside.expand(self.dim - self.rank)]).to(dtype)
        return Mask(values == 1, dtype=dtype) if bool(((values == 0) | (values == 1)).all()) else Diagonal(values)


@final
@dataclass(frozen=True)
class _GaussianLimit(Flow):
    """The flow of a Gaussian core, the shrinking of coordinates without variance taken exactly."""

    core: GaussianCore

    def velocities(self, times: Tensor) -> Sequence[LinearOperator]:
        moments = self.core._moments()
        return [
            self.core._operator(*(_velocity(t, moment).where(moment > 0, torch.zeros_like(moment)) for moment in moments), dtype=self.core.variance.dtype)
            for t in times.tolist()
        ]

    def factor(self, start: float, stop: float) -> LinearOperator | None:
        if all(bool((moment > 0).all()) for moment in self.core._moments()):
            return None
        shrink = (1 - stop) / (1 - start)
        factors = (torch.full_like(moment, shrink).where(moment == 0, torch.ones_like(moment)) for moment in self.core._moments())
        return self.core._operator(*factors, dtype=torch.float64)


def _velocity(t: float, moment: Tensor) -> Tensor:
    return (t * moment - (1 - t)) / _second_moment(t, moment)


def _second_moment(t: float | Tensor, moment: Tensor) -> Tensor:
    return t**2 * moment + (1 - t) ** 2


def _end_point(t: float | Tensor, moment: Tensor) -> Tensor:
    # A coordinate without variance ends at 0 from every t, also at t = 1, where the quotient is 0/0.
    return torch.where(moment == 0, torch.zeros_like(moment), t * moment / _second_moment(t, moment))
