"""The dense product is the published algorithm: with nested stages it is the RK4 loop, without it is not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.collapse_cores import CoreName, Flow, random_core
from benchmarks.dense_collapse import dense_collapse, end_point_matrix, unnested_loop

CORES: tuple[CoreName, ...] = ("low_rank", "shared_subspace")


def flow(name: CoreName, dim: int = 12, rank: int = 3, steps: int = 10) -> Flow:
    return Flow(random_core(name, dim, rank, "cpu"), steps).double()


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", CORES)
def test_the_matrix_of_the_end_point_is_that_operator(name: CoreName) -> None:
    operator = flow(name).core.at(0.3)
    assert torch.allclose(end_point_matrix(operator), operator.to_dense(), rtol=0, atol=1e-14)


@settings(max_examples=15, deadline=None)
@given(name=st.sampled_from(CORES), dim=st.integers(5, 20), rank=st.integers(1, 4), steps=st.integers(2, 20))
def test_nested_stages_are_the_loop(name: CoreName, dim: int, rank: int, steps: int) -> None:
    each = flow(name, dim, rank, steps)
    z = each.latents()
    assert relative(z @ each.dense(nested=True).mT, each.loop(z)) < 1e-11


@pytest.mark.parametrize("name", CORES)
def test_stages_that_are_not_nested_are_not_the_loop(name: CoreName) -> None:
    each = flow(name, steps=100)
    z = each.latents()
    product = each.dense(nested=False)
    assert relative(z @ product.mT, each.loop(z)) > 1e-3
    assert relative(z @ product.mT, unnested_loop(each.core.at, z, each.times)) < 1e-12


@pytest.mark.parametrize(("nested", "order"), [(True, 4), (False, 1)])
def test_orders_of_convergence(nested: bool, order: int) -> None:
    core = flow("shared_subspace").core

    def product(steps: int) -> Tensor:
        return dense_collapse(core.at, [0.5 * number / steps for number in range(steps + 1)], nested=nested)

    exact = dense_collapse(core.at, [0.5 * number / 200 for number in range(201)], nested=True)
    errors = [relative(product(steps), exact) for steps in (10, 20)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_only_so_many_steps_are_taken() -> None:
    each = flow("low_rank")
    assert torch.equal(each.dense(nested=True, steps=3), dense_collapse(each.core.at, each.times[:4], nested=True))


@pytest.mark.parametrize("name", CORES)
def test_random_cores_vary_with_time_and_are_drawn_from_a_seed(name: CoreName) -> None:
    first, again = (random_core(name, 12, 3, "cpu") for _ in range(2))
    assert torch.equal(first.at(0.2).to_dense(), again.at(0.2).to_dense())
    assert relative(first.at(0.2).to_dense(), first.at(0.8).to_dense()) > 0.05
    assert not any(parameter.requires_grad for parameter in first.parameters())
