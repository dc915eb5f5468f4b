"""Trajectories against independent solvers and closed forms; films that come back after a turn."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.special import ellipj, ellipk

from linearizer_core.data import stack
from linearizer_core.errors import DataError
from linearizer_core.factory import create_dataset
from linearizer_dynamics.config import MovingDigitConfig
from linearizer_dynamics.data import systems
from linearizer_dynamics.data.integrate import integrate
from linearizer_dynamics.data.moving_digit import MovingDigit
from linearizer_dynamics.data.swing import Swing

SYSTEMS = {
    "slow_manifold": (systems.slow_manifold(-0.05, -1.0), 1.0),
    "pendulum": (systems.pendulum(), 1.0),
    "fluid_on_attractor": (systems.fluid_on_attractor(0.0), 2.0),
    "fluid_off_attractor": (systems.fluid_off_attractor(), 1.0),
    "double_well": (systems.double_well(), 4.0),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_solver_agrees_with_scipy(name: str) -> None:
    system, last = SYSTEMS[name]
    start = system.draw(2, torch.Generator().manual_seed(1))
    times = last * torch.tensor([[0.1, 0.35, 1.0], [0.01, 0.5, 0.9]], dtype=torch.float64)
    found = integrate(system, start, times)
    for row in range(2):
        expected = solve_ivp(
            lambda t, x: system.field(torch.from_numpy(x)[None])[0].numpy(), (0, last), start[row], "DOP853", times[row].numpy(), rtol=1e-12, atol=1e-13
        )
        assert np.abs(expected.y.T - found[row].numpy()).max() < 3e-9


def test_inputs_enter_as_the_equations_say() -> None:
    system = systems.slow_manifold(-0.5, -2.0, driven=True)
    start, control = torch.tensor([[0.4, 0.1]], dtype=torch.float64), torch.tensor([[[1.0], [-3.0]]], dtype=torch.float64)
    times = torch.tensor([[0.5, 0.8]], dtype=torch.float64)
    found = integrate(system, start, times, control)
    latent = systems.slow_manifold_map(start, -0.5, -2.0)[:, 1]
    for number, (length, u) in enumerate(((0.5, 1.0), (0.3, -3.0))):  # in the linear coordinates: z' = lam z + u
        latent = math.exp(-2 * length) * latent + u * (1 - math.exp(-2 * length)) / 2
        assert torch.allclose(systems.slow_manifold_map(found[:, number], -0.5, -2.0)[:, 1], latent, atol=1e-10)


@pytest.mark.parametrize("angle", [0.01, 0.8, 2.4, 3.1])
def test_the_swing_is_that_of_jacobis_functions(angle: float) -> None:
    swing, t = Swing(angle), torch.linspace(-3, 220, 500, dtype=torch.float64)
    m, speed = math.sin(angle / 2) ** 2, math.sqrt(9.81)
    sn, cn, _, _ = ellipj(ellipk(m) - speed * t.numpy(), m)
    expected = np.stack([2 * np.arcsin(math.sqrt(m) * sn), -2 * math.sqrt(m) * speed * cn], 1)
    assert np.abs(swing.at(t).numpy() - expected).max() < 1e-10
    assert swing.frequency == pytest.approx(math.pi * speed / (2 * ellipk(m)), rel=1e-14)


def test_pendulums_swing_and_bowls_are_bowls() -> None:
    x = systems.pendulum().draw(500, torch.Generator().manual_seed(0))
    assert len(x) == 500
    assert float((x[:, 1] ** 2 / 2 - x[:, 0].cos()).max()) <= 0.99
    bowl = systems.on_the_bowl(0.3, 1.1)(500, torch.Generator().manual_seed(0))
    radius = bowl[:, :2].norm(dim=1)
    assert torch.allclose(bowl[:, 2], radius**2)
    assert 0.3 <= float(radius.min()) < 0.35
    assert 1.05 < float(radius.max()) <= 1.1


def test_irregular_times_are_random_and_belong_to_their_states() -> None:
    batch = stack(create_dataset("slow_manifold", train=20, validation=1, test=1, steps=5, irregular=True).load().train)
    assert bool((batch["times"].diff(dim=1) > 0).all())
    assert len(torch.unique(batch["times"])) == 100
    assert float(batch["times"].max()) <= 5 * 0.02
    z0, z = (systems.slow_manifold_map(batch[name].double(), -0.05, -1.0) for name in ("x", "later"))
    rates = torch.tensor([-0.05, -1.0], dtype=torch.float64)
    assert torch.allclose(z, z0[:, None] * (batch["times"][..., None].double() * rates).exp(), atol=1e-7)


def test_windows_of_the_one_swing() -> None:
    splits = create_dataset("koopmanae_pendulum", window=50, horizon=70).load()
    swing = Swing(2.4)
    test = stack(splits.test)
    assert test["later"].shape == (30, 70, 2)
    assert torch.allclose(test["x"][3].double(), swing.at(torch.tensor([60.3], dtype=torch.float64))[0], atol=1e-6)
    assert torch.allclose(test["later"][3, -1].double(), swing.at(torch.tensor([67.3], dtype=torch.float64))[0], atol=1e-6)
    assert len(stack(splits.train)["x"]) + len(stack(splits.validation)["x"]) == 550


# --- films -----------------------------------------------------------------------------------------------


def film(motion: str, times: list[float], **options: Any) -> torch.Tensor:
    source = MovingDigit(MovingDigitConfig(motion=motion, size=20, period=2.0, **options))
    digit = torch.zeros(1, 1, 8, 8)
    digit[..., 1:4, 2:6] = 1
    return source.render(digit, torch.tensor([times]))[0, :, 0]


def centre(frame: torch.Tensor) -> tuple[float, float]:
    """The centre of mass, from the middle of the frame: to the right, and down."""
    places = torch.arange(20) - 9.5
    return float((frame.sum(0) * places).sum() / frame.sum()), float((frame.sum(1) * places).sum() / frame.sum())


def test_a_turn_of_a_quarter_moves_every_pixel_where_it_belongs() -> None:
    still, quarter, half, full, back = film("rotate", [0.0, 0.5, 1.0, 2.0, -1.5])
    assert torch.allclose(full, still, atol=1e-5)
    assert torch.allclose(back, quarter, atol=1e-5)
    assert torch.allclose(half, still.flip(0, 1), atol=1e-5)
    assert torch.allclose(quarter, torch.rot90(still), atol=1e-5)


def test_an_orbit_keeps_the_digit_upright() -> None:
    start, quarter, half = film("orbit", [0.0, 0.5, 1.0])
    middle = [(a + b) / 2 for a, b in zip(centre(start), centre(half), strict=True)]
    assert centre(start)[0] - centre(half)[0] == pytest.approx(10.0, abs=0.2)  # twice the radius: half of 20 - 10
    assert centre(quarter)[1] - middle[1] == pytest.approx(5.0, abs=0.2)
    assert float(start.sum()) == pytest.approx(float(quarter.sum()), rel=0.02)


def test_films_are_sampled_at_random_for_training_and_evenly_for_testing() -> None:
    splits = MovingDigit(MovingDigitConfig(size=12, train=6, test=4, frames=5, test_frames=8)).load()
    train, test = stack(splits.train), stack(splits.test)
    assert bool((train["times"].diff(dim=1) >= 0).all())
    assert float(train["times"].max()) <= 1
    assert torch.allclose(test["times"][0], torch.arange(1, 9) / 4)
    assert torch.allclose(test["later"][:, 3], test["x"], atol=0.01)  # t = 1: one turn
    assert train["x"].dtype == torch.float32


def test_other_data_than_grey_images_are_refused() -> None:
    with pytest.raises(DataError, match="expected grey images"):
        MovingDigit(MovingDigitConfig.model_validate({"source": {"name": "pendulum", "train": 1, "test": 1, "validation": 1}})).load()
