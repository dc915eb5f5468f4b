"""The many steps of a core as one operator, and what is known about that operator: the report that is saved and shown beside it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, TypeVar, final

import torch
from pydantic import BaseModel, ConfigDict, Field

from linearizer_core.config import CollapseConfig
from linearizer_core.cores import CoreOperator, FlowPlan, TimeDependentCore
from linearizer_core.errors import ConfigError, DivergedFlowError
from linearizer_core.metrics import relative_error
from linearizer_core.operators import LinearOperator
from linearizer_core.operators.flow import FlowSummary
from linearizer_core.peak_memory import peak_memory
from linearizer_core.validation import validate

Value = TypeVar("Value")

_EXAMPLES = 64
_LEADING = 256
_SEED = 0
_NO_NOISE = 5e-4
_SHORT = 1.0


@final
class CollapseReport(BaseModel):
    """How an operator was made of a flow, and what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    solver: str = Field(description="the method whose steps became one")
    terminal: str = Field(description="the rule by which the flow ends")
    steps: int = Field(description="solver steps")
    start: float = Field(description="the time at which the flow begins")
    stop: float = Field(description="the time at which the flow ends")
    tol: float | None = Field(description="error for which the steps were chosen")
    error_bound: float | None = Field(description="a-posteriori bound of |B - exact flow|, operator norm, where steps were chosen and nothing is cut")
    rtol: float | None = Field(description="singular values of low-rank products dropped up to this part of the largest; by default, rounding")
    truncated_to: int | None = Field(description="singular values kept, the largest ones")
    kind: str = Field(description="structure of the operator B")
    dim: int = Field(description="D, the dimension of the latents")
    rank: int = Field(description="singular values above 1e-6 of the largest")
    c: float | None = Field(description="B z = c z for what the subspace does not see, where the structure of B tells")
    complement: int | None = Field(description="dimensions for which that holds")
    norm: float = Field(description="largest singular value")
    cond: float | None = Field(description="largest over smallest singular value, where B is invertible")
    residual_noise: float | None = Field(description="share of a sample's latent that is noise passed through, root mean square")
    error_vs_loop_float64: float = Field(description="relative error of B z against the loop, standard normal z, both in float64")
    error_vs_loop_float32: float = Field(description="the same with B in float32")
    collapse_seconds: float = Field(description="to multiply the steps into one operator")
    loop_seconds: float = Field(description=f"of the loop in float64, {_EXAMPLES} latents")
    peak_bytes: int | None = Field(description="memory of the collapse above what was in use, where the system tells")
    operator_bytes: int = Field(description="size of the operator")
    dense_bytes: int = Field(description="size of one D x D matrix, for comparison")
    singular_values: tuple[float, ...] = Field(description=f"the largest ones, {_LEADING} at most")

    @property
    def consequence(self) -> str:
        """What the end of the flow means for encoding and for noise, in a sentence."""
        if self.cond is not None:
            encoding = f"B is invertible, with a condition number of {self.cond:.3g}"
        else:
            encoding = f"B keeps {self.rank:,} of {self.dim:,} dimensions, so its pseudo-inverse encodes what these hold and nothing else"
        noise = ""
        if self.residual_noise is not None:
            some = f"{self.residual_noise:.1%} of the latent of a sample is noise passed through"
            noise = f"; {some if self.residual_noise >= _NO_NOISE else 'no noise passes through'}"
        return f"The flow ends at t = {self.stop:g}: {encoding}{noise}."


def changed_config(config: CollapseConfig | None, named: Mapping[str, Any]) -> CollapseConfig:
    """``config``, or the defaults, with the ``named`` values; steps that are named take the place of an error that was not.

    Raises:
        ConfigError: for a name or value that `CollapseConfig` does not have.

    Example:
        >>> changed_config(CollapseConfig(solver="rk4", tol=1e-6), {"steps": 50})
        CollapseConfig(steps=50, solver='rk4', terminal=None, tol=None, rtol=None, rank=None)
    """
    values = (config or CollapseConfig()).model_dump()
    return validate(CollapseConfig, {**values, **({"tol": None} if "steps" in named else {}), **named})


@torch.no_grad()
def collapse_core(core: CoreOperator, config: CollapseConfig) -> LinearOperator:
    """The flow of a core as one operator in float64, made and truncated as ``config`` says.

    Raises:
        ConfigError: for a core that does not depend on time.
        UnknownSolverError, NoTerminalLimitError, StepSizeError: as in `TimeDependentCore.one_step`.
        TruncationError: for a rank that the operator cannot be cut to.

    Example:
        >>> from linearizer_core import create_core
        >>> core = create_core("shared_subspace", (8, 8), rank=3)
        >>> collapse_core(core, CollapseConfig()).rank(), collapse_core(core, CollapseConfig(terminal="early", steps=10)).rank()
        (3, 8)
    """
    core = _require_flow(core)
    return _composed(core, _plan(core, config), config)


@torch.no_grad()
def measured_collapse(core: CoreOperator, config: CollapseConfig, dtype: torch.dtype = torch.float64) -> tuple[LinearOperator, CollapseReport]:
    """`collapse_core` in ``dtype``, measured: the operator, its error against the loop, time and memory.

    Raises:
        DivergedFlowError: for an operator that is not finite, and what `collapse_core` raises.
    """
    core = _require_flow(core)
    device = next(chain(core.parameters(), core.buffers()), torch.empty(0)).device
    plan = _plan(core, config)
    with peak_memory(device) as peak:
        wide, collapse_seconds = _timed(lambda: _composed(core, plan, config), device)
    if collapse_seconds < _SHORT:  # what it took was loading kernels
        _, collapse_seconds = _timed(lambda: _composed(core, plan, config), device)
    _require_finite(wide, plan)
    operator = wide.to(dtype)
    z = torch.randn(_EXAMPLES, core.dim, generator=torch.Generator().manual_seed(_SEED), dtype=torch.float64).to(device)
    loop, loop_seconds = _timed(lambda: core.integrate(z, plan.grid, plan.solver, terminal=plan.terminal), device)
    summary = FlowSummary.of(operator, leading=_LEADING)
    return operator, CollapseReport(
        solver=plan.solver,
        terminal=plan.terminal,
        steps=len(plan.grid) - 1,
        start=plan.grid[0].item(),
        stop=plan.grid[-1].item(),
        tol=config.tol,
        error_bound=plan.error_bound if config.rtol is None and config.rank is None else None,
        rtol=config.rtol,
        truncated_to=config.rank,
        kind=operator.kind,
        dim=summary.dim,
        rank=summary.rank,
        c=summary.scale,
        complement=summary.complement,
        norm=summary.norm,
        cond=summary.cond if summary.invertible else None,
        residual_noise=summary.residual_noise,
        error_vs_loop_float64=relative_error(wide(z), loop),
        error_vs_loop_float32=relative_error(wide.to(torch.float32)(z.float()).double(), loop),
        collapse_seconds=collapse_seconds,
        loop_seconds=loop_seconds,
        peak_bytes=peak.bytes,
        operator_bytes=sum(tensor.numel() * tensor.element_size() for tensor in operator.tensors().values()),
        dense_bytes=math.prod(operator.shape) * operator.dtype.itemsize,
        singular_values=summary.singular_values,
    )


def _require_flow(core: CoreOperator) -> TimeDependentCore:
    if not isinstance(core, TimeDependentCore):
        raise ConfigError(f"{type(core).__name__} does not depend on time, so there are no steps to collapse; expected a core such as 'gaussian'")
    return core


def _require_finite(operator: LinearOperator, plan: FlowPlan) -> None:
    if not all(bool(tensor.isfinite().all()) for tensor in operator.tensors().values()):
        raise DivergedFlowError(
            f"{plan.solver} over {len(plan.grid) - 1} steps from t = {plan.grid[0].item():g} to {plan.grid[-1].item():g} gives an operator with non-finite "
            "entries, expected finite ones: the flow grows out of range; end it earlier, or take more steps"
        )


def _plan(core: TimeDependentCore, config: CollapseConfig) -> FlowPlan:
    return core.plan(config.steps, config.solver, config.terminal, tol=config.tol)


def _composed(core: TimeDependentCore, plan: FlowPlan, config: CollapseConfig) -> LinearOperator:
    operator = core.propagator(plan.grid, plan.solver, terminal=plan.terminal, rtol=config.rtol)
    return operator if config.rank is None else operator.truncate(config.rank)


def _timed(call: Callable[[], Value], device: torch.device) -> tuple[Value, float]:
    start = time.perf_counter()
    found = call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return found, time.perf_counter() - start
