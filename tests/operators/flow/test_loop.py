from __future__ import annotations

import torch

from linearizer_core.operators import ScaledIdentity, SharedSubspace
from linearizer_core.operators.flow import BatchedFlow, integrate, time_grid
from tests.operators.zoo import normal, relative_error, seeded

from .examples import end_point_flow


def test_gradients_flow_through_the_loop() -> None:
    core = torch.full((2, 2), 0.1, dtype=torch.float64, requires_grad=True)
    u = torch.eye(5, 2, dtype=torch.float64)
    z = integrate(lambda t: SharedSubspace(-1.0, u, core, u), torch.ones(3, 5, dtype=torch.float64), time_grid(4), "rk4")
    (gradient,) = torch.autograd.grad(z.square().sum(), core)
    assert float(gradient.abs().min()) > 0


def test_any_number_of_leading_dimensions_and_one_step() -> None:
    flow, z = end_point_flow("low_rank", 8), normal(seeded(1), 2, 3, 8)
    whole = integrate(flow, z, time_grid(5), "rk4")
    assert whole.shape == z.shape
    assert relative_error(integrate(flow, z[1, 2], time_grid(5), "rk4"), whole[1, 2]) < 1e-14
    (start, stop), *_ = time_grid(2, "last_step").unfold(0, 2, 1).tolist()
    single = integrate(lambda t: ScaledIdentity(-1.0, 8, dtype=torch.float64), z, torch.tensor([start, stop]), "euler")
    assert relative_error(single, 0.5 * z) < 1e-15


def test_velocities_of_many_steps_are_evaluated_at_once() -> None:
    asked: list[int] = []

    def velocities(times: torch.Tensor) -> list[ScaledIdentity]:
        asked.append(len(times))
        return [ScaledIdentity(-1.0, 3) for _ in times]

    integrate(BatchedFlow(velocities), torch.ones(3), time_grid(50), "rk4")
    assert asked == [3, 97]
