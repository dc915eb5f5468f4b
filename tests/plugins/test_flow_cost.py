"""What one-step sampling costs: calls and operations are counted, time is not measured."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from linearizer_core.bijections import Bijection, Coupling
from linearizer_core.config import Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import LinearOperator
from linearizer_core.task import Task

PRIOR = {"name": "coupling", "dense": {"couplings": 4, "width": 16}, "class_scale": True, "final_mixing": False}
COUPLING = {"name": "coupling", "levels": [{"couplings": 2, "width": 8}], "dense": {"couplings": 2, "width": 16}}
GLOW = {"name": "glow", "norm": "affine", "width": 8}


class Operations(TorchDispatchMode):
    """Counts what is dispatched to kernels and views."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names[function._schema.name.removeprefix("aten::")] += 1
        return function(*args, **(kwargs or {}))


def made(backbone: dict[str, Any]) -> tuple[Task, LinearizerModel, LinearOperator]:
    task = Component(name="flow", latent_prior={"prior": {"backbone": PRIOR}})
    config = ModelConfig(task=task, backbone=Component(**backbone), core=Component(name="gaussian", rank=12))
    built, model = build_model(config, DataInfo(name="digits", shape=(1, 8, 8), classes=10), seed=0)
    operator = built.collapsed(model.eval())
    assert operator is not None
    return built, model, operator


def draw(task: Task, model: LinearizerModel, operator: LinearOperator, n: int = 5, **options: Any) -> torch.Tensor:
    return task.sample(model, n, torch.Generator().manual_seed(0), options, operator=operator)


def conditioners(model: nn.Module) -> list[nn.Module]:
    return [module.conditioner for module in model.modules() if isinstance(module, Coupling)]


def couplings_of(model: nn.Module) -> int:
    return len(conditioners(model))


@pytest.mark.parametrize("backbone", [COUPLING, GLOW], ids=["coupling", "glow"])
@pytest.mark.parametrize(("n", "chunks"), [(5, 1), (500, 1), (501, 2)])
def test_a_sample_is_one_inverse_pass(backbone: dict[str, Any], n: int, chunks: int) -> None:
    task, model, operator = made(backbone)
    calls: Counter[nn.Module] = Counter()
    for module in model.modules():
        module.register_forward_hook(lambda module, *_: calls.update([module]))
    assert draw(task, model, operator, n).shape == (n, 1, 8, 8)
    networks = conditioners(model)
    assert len(networks) >= 6
    assert all(calls[network] == chunks for network in networks)
    assert not [module for module in calls if isinstance(module, Bijection)], "a forward pass"


def test_the_loop_costs_one_inverse_pass_as_well() -> None:
    task, model, operator = made(COUPLING)
    calls: Counter[nn.Module] = Counter()
    for network in conditioners(model):
        network.register_forward_hook(lambda module, *_: calls.update([module]))
    draw(task, model, operator, steps=20)
    assert set(calls.values()) == {1}


def test_nothing_is_computed_that_a_sample_does_not_need() -> None:
    task, model, operator = made(COUPLING)
    with Operations() as found:
        draw(task, model, operator)
    assert found.names["addmm"] + found.names["convolution"] >= 3 * couplings_of(model)
    assert found.names["sum"] == 0, "log-determinants"
    assert found.names["_local_scalar_dense"] == 2, "labels are looked at once, not in every layer"
    assert found.names.total() < 38 * couplings_of(model)


@pytest.mark.parametrize("mixing", ["cayley", "plu"])
def test_matrices_are_made_once(mixing: str) -> None:
    task, model, operator = made({**GLOW, "mixing": mixing})
    solvers = {"_linalg_solve_ex", "linalg_solve_triangular", "triangular_solve"}
    found = []
    for _ in range(2):
        with Operations() as operations:
            images = draw(task, model, operator)
        found.append((sum(operations.names[name] for name in solvers), images))
    (first, before), (second, after) = found
    assert first > 0
    assert second == 0
    assert torch.equal(before, after)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data.mul_(1.1)
    assert not torch.equal(draw(task, model, operator), before)
