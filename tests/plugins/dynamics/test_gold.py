"""The slow manifold in closed form: the exact answer passes through the whole machinery, and training finds its rates."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from linearizer_core.bijections import VolumePreserving
from linearizer_core.condition import Condition
from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.cores import CoreOperator, GeneratorCore
from linearizer_core.data import stack
from linearizer_core.factory import build_model, create_dataset
from linearizer_core.linearizer import Linearizer
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import DecayRotation, Dense, Diagonal
from linearizer_core.training import fit
from linearizer_dynamics.data.integrate import integrate
from linearizer_dynamics.data.systems import slow_manifold, slow_manifold_map
from linearizer_dynamics.known import beside_closed_form
from linearizer_dynamics.prediction import predict
from linearizer_dynamics.spectrum import eigenvalues

MU, LAM = -0.05, -1.0


class ClosedForm(VolumePreserving):
    """g(x) = (x1, x2 - b x1^2)."""

    bend = LAM / (LAM - 2 * MU)

    def __init__(self) -> None:
        super().__init__((2,))

    def forward(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        return slow_manifold_map(x, MU, LAM)

    def inverse(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.stack([z[:, 0], z[:, 1] + self.bend * z[:, 0].square()], dim=1)


class Exact(GeneratorCore):
    def operator(self, condition: Condition | None = None) -> Diagonal:
        return Diagonal(torch.tensor([MU, LAM], dtype=torch.float64))


def test_the_closed_form_is_exact_at_any_time() -> None:
    system = slow_manifold(MU, LAM)
    x0 = system.draw(50, torch.Generator().manual_seed(0))
    times = torch.linspace(0.1, 5, 9, dtype=torch.float64).expand(50, -1)
    truth = integrate(system, x0, times)
    model = LinearizerModel(ClosedForm(), Exact(2))
    assert float((predict(model, x0, times) - truth).abs().max()) < 1e-11  # of which the solver makes most
    latents = slow_manifold_map(truth, MU, LAM)
    rates = torch.tensor([MU, LAM], dtype=torch.float64)
    assert float((latents - slow_manifold_map(x0, MU, LAM)[:, None] * (times[..., None] * rates).exp()).abs().max()) < 1e-11

    f: Linearizer = model.linearizer()
    assert float((f.expm(0.7).inverse()(f.expm(0.7)(x0)) - x0).abs().max()) < 1e-12
    assert float((f.evolve(f.evolve(x0, -0.4), 1.6) - f.evolve(x0, 1.2)).abs().max()) < 1e-12
    each = torch.linspace(-1, 1, 50, dtype=torch.float64)
    assert float((f.evolve(x0, each)[7] - f.expm(float(each[7]))(x0[7:8])[0]).abs().max()) < 1e-12
    assert eigenvalues(f.operator) == [MU, LAM]


def test_what_a_linearizing_map_is_known_up_to() -> None:
    """Maps that commute with the flow: scales, and the power lam / mu of the slow coordinate added to the fast one."""
    system = slow_manifold(-0.5, -1.5)
    x0 = system.draw(20, torch.Generator().manual_seed(0))
    times = torch.tensor([0.3, 1.1], dtype=torch.float64).expand(20, -1)
    first, second = slow_manifold_map(integrate(system, x0, times), -0.5, -1.5).unbind(-1)
    other = torch.stack([3 * first, 2 * second + 5 * first**3], dim=-1)
    start = slow_manifold_map(x0, -0.5, -1.5)
    expected = torch.stack([3 * start[:, 0], 2 * start[:, 1] + 5 * start[:, 0] ** 3], dim=-1)
    rates = torch.tensor([-0.5, -1.5], dtype=torch.float64)
    assert torch.allclose(other, expected[:, None] * (times[..., None] * rates).exp(), atol=1e-11)


def test_the_measure_sees_through_what_commutes_with_the_flow_and_nothing_else() -> None:
    x = slow_manifold(MU, LAM).draw(400, torch.Generator().manual_seed(0))
    z = slow_manifold_map(x, MU, LAM)
    sides = torch.stack([torch.where(z[:, 0] > 0, 2.0, 3.0) * z[:, 0], torch.where(z[:, 0] * z[:, 1] > 0, -4.0, -5.0) * z[:, 1]], dim=1)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    for latents, matrix in ((sides, torch.diag(torch.tensor([MU, LAM], dtype=torch.float64))), (z.flip(1), torch.diag(torch.tensor([LAM, MU])))):
        assert beside_closed_form(Dense(turn @ matrix.double() @ turn.T), latents @ turn.T, x)["closed_form_rel_err"] < 1e-6
        assert beside_closed_form(Dense(matrix.double()), latents @ turn.T, x)["closed_form_rel_err"] > 0.1
    assert beside_closed_form(Diagonal(torch.tensor([MU, LAM])), x, x)["closed_form_rel_err"] > 0.1
    assert beside_closed_form(DecayRotation(*torch.ones(2, 1), torch.empty(0)), z, x) == {}


def test_training_finds_the_rates(tmp_path: Path) -> None:
    """A faster manifold than the published one, so that 300 steps suffice."""
    data = create_dataset("slow_manifold", mu=-0.5, lam=-3.0, train=256, validation=8, test=64, steps=20, dt=0.1).load()
    stage = {"steps": 300, "batch_size": 64, "frames": 4, "optimizer": {"lr": 1e-2}, "warmup_steps": 10, "latent_weight": 1.0, "ema": 0.97}
    config = ModelConfig(
        task=Component(name="dynamics", training=stage),
        backbone=Component(name="coupling", dense={"couplings": 4, "width": 24, "mask": "alternating"}, coupling="additive"),
        core=Component(name="generator", structure="diagonal", spectrum="stable", decay=2.0),
    )
    task, model = build_model(config, data.info, 0)
    core = model.core
    assert isinstance(core, CoreOperator)
    fit(task, model, data, TrainingConfig(output=tmp_path, checkpoint_every=1000, threads=1))
    test = stack(data.test)
    with torch.no_grad():
        errors = (predict(model.eval(), test["x"], test["times"]) - test["later"]).square().mean() / test["later"].square().mean()
    assert float(errors) < 1e-2
    slow, fast = (value.real for value in eigenvalues(core.operator()))
    assert abs(slow + 0.5) < 0.1
    assert abs(fast + 3.0) < 0.6
