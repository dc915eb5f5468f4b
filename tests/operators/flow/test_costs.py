"""What the collapse must never do, counted in tensors, operations and evaluations: times would tell it less surely."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from linearizer_core.cores import TimeDependentCore
from linearizer_core.operators import LinearOperator, SharedSubspace
from linearizer_core.operators.flow import SOLVERS, collapse, time_grid, velocity_operator
from linearizer_operators.config import GaussianConfig, LowRankConfig, SharedSubspaceConfig
from linearizer_operators.gaussian import GaussianCore
from linearizer_operators.low_rank import LowRankCore
from linearizer_operators.shared_subspace import SharedSubspaceCore

DIM, RANK = 6000, 4


class Watch(TorchDispatchMode):
    """Records the size of the largest tensor that any operation returns, and counts the operations that take or return one with DIM rows or columns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.large_operations = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        returned = [value for value in (out if isinstance(out, tuple | list) else (out,)) if isinstance(value, Tensor)]
        self.large_operations += any(DIM in value.shape for value in (*args, *returned) if isinstance(value, Tensor))
        self.elements = max(self.elements, *(value.numel() for value in returned), 0)
        return out


def cores() -> dict[str, TimeDependentCore]:
    torch.manual_seed(0)
    subspace = SharedSubspaceCore((DIM, DIM), SharedSubspaceConfig(rank=RANK, width=16))
    torch.nn.init.normal_(subspace.network.output.weight, std=0.1)
    principal = GaussianCore((DIM, DIM), GaussianConfig(rank=RANK, basis="principal"))
    principal.fit(torch.randn(20, DIM))
    leading = GaussianCore((DIM, DIM), GaussianConfig(rank=RANK))
    return {"shared_subspace": subspace, "low_rank": LowRankCore((DIM, DIM), LowRankConfig(rank=RANK, width=16)), "leading": leading, "principal": principal}


def evaluations(core: TimeDependentCore, call: Callable[[], object]) -> int:
    """How often ``call`` evaluates the network of the core."""
    count = 0

    def hook(*_: object) -> None:
        nonlocal count
        count += 1

    handle = core.network.register_forward_hook(hook)  # type: ignore[operator, union-attr]
    call()
    handle.remove()
    return count


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["shared_subspace", "low_rank", "leading", "principal"])
def test_neither_the_collapse_nor_a_sample_forms_a_full_matrix(name: str, solver: str) -> None:
    core, steps = cores()[name], 24
    z = torch.randn(8, DIM)
    with Watch() as watch:
        operator = core.one_step(steps, solver, "early")
        operator.to(torch.float32)(z)
    # Of low rank: both factors at all nodes, which is less than a chunk here.
    columns = {"low_rank": 2 * RANK * 3 * steps, "leading": 3 * steps, "shared_subspace": 8, "principal": 8}[name]
    assert 0 < watch.elements <= DIM * columns < DIM * DIM / 10


def test_factors_of_all_steps_are_never_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """D R T elements would be 30 MB here: with a smaller chunk the same collapse stays below it."""
    steps = 300
    monkeypatch.setattr("linearizer_core.operators.flow.steps.CHUNK_BYTES", 2**20)
    with Watch() as watch:
        cores()["low_rank"].one_step(steps, "rk4")
    assert watch.elements < DIM * RANK * steps / 8


@pytest.mark.parametrize("terminal", ["early", "limit"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_the_work_on_large_tensors_does_not_grow_with_the_steps_of_a_shared_subspace(solver: str, terminal: Any) -> None:
    core, counts, flops = cores()["shared_subspace"], [], []
    for steps in (4, 400):
        with Watch() as watch:
            core.one_step(steps, solver, terminal)
        counts.append(watch.large_operations)
        with FlopCounterMode(display=False) as counter:
            core.one_step(steps, solver, terminal)
        flops.append(counter.get_total_flops())
    assert counts[0] == counts[1] < 30
    once = 2 * DIM * RANK**2
    assert flops[0] < 1.1 * once
    assert (flops[1] - flops[0]) / 396 < 3000 * RANK**3 / RANK  # in R dimensions, whatever D is


@pytest.mark.parametrize("solver", SOLVERS)
def test_subspaces_are_found_out_in_flows_given_by_functions(solver: str) -> None:
    u = torch.randn(DIM, 2, generator=torch.Generator().manual_seed(0)) / DIM**0.5
    counts = []
    for steps in (4, 40):
        with Watch() as watch:
            operator = collapse(lambda t: velocity_operator(SharedSubspace(0.0, u, math.cos(t) * torch.eye(2), u), t), time_grid(steps), solver)
        assert isinstance(operator, SharedSubspace)
        assert watch.elements <= 4 * DIM
        counts.append(watch.large_operations)
    assert counts[0] == counts[1] < 15


def test_no_copy_of_a_subspace_is_made_in_float64() -> None:
    """U and V are widened by blocks of rows; the result holds those of the core."""
    core = cores()["shared_subspace"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("linearizer_core.operators.tall.BLOCK_ELEMENTS", 64 * RANK)
        with Watch() as watch:
            operator = core.one_step(10)
    assert watch.elements <= DIM * RANK  # views of U and V themselves
    assert isinstance(operator, SharedSubspace)
    assert operator.left.data_ptr() == core.left.data_ptr()  # type: ignore[union-attr, operator]


@pytest.mark.parametrize("name", ["shared_subspace", "low_rank"])
def test_the_network_is_evaluated_once_for_all_steps(name: str) -> None:
    core = cores()[name]
    z = torch.randn(2, DIM)
    for steps in (5, 50):
        grid = time_grid(steps)
        assert evaluations(core, lambda grid=grid: core.propagator(grid, "rk4")) <= 2
        assert evaluations(core, lambda grid=grid: core.integrate(z, grid, "rk4")) == 2


def test_low_rank_products_are_made_by_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One after another, the last products would all have the full rank; by pairs only a few do."""
    columns: list[int] = []
    windows = __import__("linearizer_core.operators.flow.windows", fromlist=["cut"])
    original = windows.cut
    monkeypatch.setattr(windows, "WINDOW_COLUMNS", 8)
    monkeypatch.setattr(windows, "cut", lambda scale, left, *rest: columns.append(left.shape[1]) or original(scale, left, *rest))
    operator = cores()["low_rank"].one_step(64, "euler")
    assert isinstance(operator, LinearOperator)
    wide = sum(count > max(columns) / 2 for count in columns)
    assert wide <= 4
    assert len(columns) < 2 * 64
