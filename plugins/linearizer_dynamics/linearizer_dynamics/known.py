"""What is known of the systems: spectra in closed form, and the coordinates of a published experiment."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from linearizer_core.operators import LinearOperator
from linearizer_dynamics.config import KoopmanaePendulumConfig, SlowManifoldConfig
from linearizer_dynamics.data.swing import Swing
from linearizer_dynamics.data.systems import (
    System,
    double_well,
    fluid_off_attractor,
    fluid_on_attractor,
    pendulum,
    slow_manifold,
    slow_manifold_map,
    swing_of_a_metre,
)


def known_spectrum(data: str) -> list[complex] | None:
    """Eigenvalues of the linear flow that the system called ``data`` is conjugate to, under its default options; None where there is none, or none known."""
    if data == "slow_manifold":
        config = SlowManifoldConfig()
        return [complex(config.mu), complex(config.lam)]
    if data == "koopmanae_pendulum":
        frequency = Swing(KoopmanaePendulumConfig().angle).frequency
        return [complex(0, frequency), complex(0, -frequency)]
    return None


def known_system(data: str) -> System | None:
    """The equations of the system called ``data``, under its default options; None where it is none of ours."""
    slow = SlowManifoldConfig()
    found: dict[str, System] = {
        system.name: system
        for system in (slow_manifold(slow.mu, slow.lam), pendulum(), fluid_on_attractor(0.0), fluid_off_attractor(), double_well(), swing_of_a_metre())
    }
    return found.get(data)


def beside_closed_form(generator: LinearOperator, latents: Tensor, states: Tensor) -> dict[str, float]:
    r"""How far learned ``latents`` ``(N, D)`` of ``states`` ``(N, 2)`` of the slow manifold are from its closed form; nothing where A has complex eigenvalues.

    A linearizing map is known up to maps that commute with the flow. In the eigenvectors of the generator these scale each coordinate, on each side of the
    axes by another number, since no orbit crosses an axis (and they may bend one coordinate by powers of the others that have its rate). So the residual is
    that of the best scale for each coordinate and orthant, in the order of the rates, relative to the deviations of the closed form.
    """
    config = SlowManifoldConfig()
    expected = slow_manifold_map(states.double(), config.mu, config.lam)
    values, vectors = torch.linalg.eig(generator.to_dense().detach().double())
    if len(values) != expected.shape[1] or bool(values.imag.any()):
        return {}
    order = values.real.argsort(descending=True)
    learned = torch.linalg.solve(vectors.real[:, order], latents.double().T).T
    orthant = (learned > 0).long() @ (2 ** torch.arange(len(order), device=learned.device))
    fitted = torch.zeros_like(expected)
    for number in torch.unique(orthant):
        rows = orthant == number
        scale = (learned[rows] * expected[rows]).sum(0) / learned[rows].square().sum(0)
        fitted[rows] = scale * learned[rows]
    return {"closed_form_rel_err": float(((fitted - expected).square().mean(0) / expected.var(0)).sqrt().max())}


def in_published_coordinates(data: str, found: Tensor, true: Tensor) -> dict[str, float]:
    """Relative errors of the pendulum of arXiv 2003.02236 in the coordinates in which it was published; nothing for other data.

    There states are lifted to 64 dimensions by an orthonormal map and then shifted and scaled to [-1, 1] over the whole series. The map is drawn as
    theirs was, from NumPy's generator with seed 1 after one number for each state; the shift enters the norm that errors are divided by.
    """
    if data != "koopmanae_pendulum":
        return {}
    random = np.random.RandomState(1)
    random.standard_normal((2, 2200))
    lift = torch.from_numpy(np.linalg.qr(random.standard_normal((64, 2)))[0])
    series = Swing(KoopmanaePendulumConfig().angle).at(0.1 * torch.arange(2200, dtype=torch.float64)) @ lift.T
    low, extent = series.min(), series.max() - series.min()
    lifted = [2 * (states.double().cpu() @ lift.T - low) / extent - 1 for states in (found, true)]
    errors = (lifted[0] - lifted[1]).norm(dim=2) / lifted[1].norm(dim=2)
    return {"lifted_error_mean": float(errors.mean()), "lifted_error_last": float(errors[:, -1].mean())}
