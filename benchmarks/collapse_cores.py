"""Cores with seeded random weights, and what is collapsed: the flows of the benchmark of the collapse."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor, nn

from benchmarks.dense_collapse import dense_collapse, unnested_loop
from benchmarks.tools.environment import SEED
from linearizer_core.cores import TimeDependentCore
from linearizer_core.factory import create_core
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import Terminal, time_grid
from linearizer_operators.shared_subspace import SharedSubspaceCore

CoreName = Literal["shared_subspace", "low_rank"]
EXAMPLES = 16
"""Random latents on which an operator is compared with the loop."""


def random_core(name: CoreName, dim: int, rank: int, device: str) -> TimeDependentCore:
    """A core as training might leave it, with A_t that varies with t.

    The per-step core varies at the start already. The subspace core starts as a projector, which any collapse gets right, so its network of t
    gets weights: K(t) of entries of about 1 / sqrt(R), and U and V that differ.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        core = create_core(name, (dim, dim), rank=rank)
        assert isinstance(core, TimeDependentCore)
        if isinstance(core, SharedSubspaceCore):
            output = core.network.output
            nn.init.normal_(output.weight, std=(rank * output.in_features) ** -0.5)
            with torch.no_grad():
                core.right.add_(torch.randn_like(core.right), alpha=0.3 * dim**-0.5)
    return core.to(device).eval().requires_grad_(False)


@final
@dataclass(frozen=True)
class Flow:
    """A core and the steps to be collapsed: by default RK4 over 0, 1/T, ..., 1 - 1/T, as published."""

    core: TimeDependentCore
    steps: int
    solver: str = "rk4"
    terminal: Terminal = "early"

    @property
    def grid(self) -> Tensor:
        return time_grid(self.steps, self.terminal)

    @property
    def times(self) -> list[float]:
        times: list[float] = self.grid.tolist()
        return times

    def ours(self) -> LinearOperator:
        """Our collapse."""
        return self.core.one_step(steps=self.steps, solver=self.solver, terminal=self.terminal)

    def dense(self, *, nested: bool, steps: int | None = None) -> Tensor:
        """The dense product of the first ``steps`` steps."""
        times = self.times
        return dense_collapse(self.core.at, times if steps is None else times[: steps + 1], nested=nested)

    def double(self) -> Flow:
        """The same in float64."""
        return Flow(copy.deepcopy(self.core).double(), self.steps, self.solver, self.terminal)

    def latents(self) -> Tensor:
        """Standard normal latents ``(EXAMPLES, D)`` in the dtype of the core."""
        like = next(self.core.parameters())
        return torch.randn(EXAMPLES, self.core.dim, generator=torch.Generator().manual_seed(SEED)).to(like)

    @torch.no_grad()
    def loop(self, z: Tensor) -> Tensor:
        return self.core.integrate(z, self.grid, self.solver)


def relative_error(found: Tensor, expected: Tensor) -> float:
    """``|found - expected| / |expected|``, of all examples together, in float64."""
    return float((found.double() - expected).norm() / expected.norm())


@torch.no_grad()
def errors(flow: Flow) -> dict[str, float]:
    """Relative errors against the loop in float64: of our operator and of the loop in float32, of ours in float64, and of the published steps."""
    wide = flow.double()
    reference, z = wide.loop(wide.latents()), flow.latents()
    return {
        "fp32": relative_error(flow.ours().to(torch.float32)(z), reference),
        "fp64": relative_error(wide.ours()(wide.latents()), reference),
        "loop_fp32": relative_error(flow.loop(z), reference),
        "published": relative_error(unnested_loop(wide.core.at, wide.latents(), wide.times), reference),
    }


@torch.no_grad()
def dense_error(flow: Flow, product: Tensor) -> float:
    """The relative error of a dense product against the loop in float64."""
    wide = flow.double()
    return relative_error(flow.latents() @ product.mT, wide.loop(wide.latents()))
