from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from linearizer_core.bijections import ContractiveResidual, FixedOrthogonal, inverse_with_report
from linearizer_core.config import Component, ModelConfig, NormalizeConfig, TrainingConfig
from linearizer_core.data import DataInfo, Splits, TensorTable
from linearizer_core.errors import ConfigError, LogDetUnavailableError
from linearizer_core.factory import build_model
from linearizer_core.training import fit
from linearizer_iresnet.backbone import iresnet_backbone
from linearizer_iresnet.config import IResNetConfig
from linearizer_iresnet.hooks import linearizer_backbones
from linearizer_iresnet.residual import BoundedResidual

from .chains import gains, kinds, labels, largest, log_volume, normal, perturbed

SMALL = {"width": 6, "blocks": 2}


def test_the_defaults_for_mnist() -> None:
    g = iresnet_backbone((1, 28, 28), IResNetConfig())
    blocks = ["ContractiveResidual"] * 4
    assert kinds(g) == ["HaarSqueeze", *blocks, "HaarSqueeze", *blocks, "Flatten", "FixedOrthogonal"]
    assert (g.inverse_kind, g.inverse_grad, g.has_logdet, g.out_shape) == ("iterative", "implicit", False, (784,))
    assert {block.contraction for block in g if isinstance(block, ContractiveResidual)} == {0.9}


def test_shapes_that_are_no_images_get_dense_blocks() -> None:
    assert kinds(iresnet_backbone((6,), IResNetConfig(**SMALL))) == ["ContractiveResidual"] * 2 + ["FixedOrthogonal"]
    assert kinds(iresnet_backbone((2, 3), IResNetConfig(**SMALL, final_mixing=False))) == ["Flatten"] + ["ContractiveResidual"] * 2


def test_images_that_cannot_be_squeezed_stay_as_they_are() -> None:
    assert kinds(iresnet_backbone((1, 3, 5), IResNetConfig(**SMALL))) == ["ContractiveResidual"] * 2 + ["Flatten", "FixedOrthogonal"]
    with pytest.raises(ConfigError, match="levels = 2"):
        iresnet_backbone((1, 6, 6), IResNetConfig(levels=2))


shapes = st.tuples(st.integers(1, 12)) | st.tuples(st.integers(1, 3), st.integers(1, 3)) | st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))


@settings(deadline=None, max_examples=15)
@given(shapes)
def test_any_shape_inverts(shape: tuple[int, ...]) -> None:
    g = perturbed(iresnet_backbone(shape, IResNetConfig(**SMALL)).double(), 1.0)
    x = normal(2, *shape)
    z = g(x)
    assert z.shape == (2, g.dim)
    assert largest(g.inverse(z) - x) < 1e-11


@pytest.mark.parametrize("far", [1.0, 1e3])
def test_float32_round_trips_on_and_off_the_data(far: float) -> None:
    g = perturbed(iresnet_backbone((1, 8, 8), IResNetConfig(width=16, blocks=8, levels=1)), 1.0)
    x = far * normal(4, 1, 8, 8).float()
    assert largest(g(x) - x.flatten(1)) > 0.1
    back, reports = inverse_with_report(g, g(x))
    assert largest(back - x) < 5e-6 * far
    assert len(reports) == 8
    assert max(report.contraction for report in reports) < 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"squeeze": "pixel"},
        {"activation": "elu", "width": 5},
        {"depth": 0},
        {"depth": 3},
        {"contraction": 0.3},
        {"gain_budget": 9.0},
        {"normalize": NormalizeConfig(shift=-0.5, scale=2.0)},
        {"levels": 0},
    ],
    ids=str,
)
def test_every_option_inverts_conditions_and_saves(options: dict[str, object]) -> None:
    config = IResNetConfig(**{**SMALL, **options})  # type: ignore[arg-type]
    g = perturbed(iresnet_backbone((3, 4, 2), config, {"label": 4}).double(), 1.0)
    x, condition = normal(3, 3, 4, 2), labels(0, 1, 3)
    z, logdet = g.forward_and_logdet(x, condition)
    assert largest(g.inverse(z, condition) - x) < 1e-11
    assert largest(g(x, labels(2)) - z) > 1e-3
    assert log_volume(g, x[:1], labels(0)) == pytest.approx(float(logdet[0].detach()), abs=1e-9)
    fresh = iresnet_backbone((3, 4, 2), config, {"label": 4}).double()
    fresh.load_state_dict(g.state_dict())
    assert torch.equal(fresh.inverse(z, condition), g.inverse(z, condition))


@pytest.mark.parametrize("shape", [(7,), (2, 4, 4)])
@pytest.mark.parametrize("activation", ["elu", "maxmin"])
def test_the_gain_stays_within_the_budget_everywhere(shape: tuple[int, ...], activation: str) -> None:
    g = perturbed(iresnet_backbone(shape, IResNetConfig(width=8, blocks=3, gain_budget=10.0, activation=activation)).double(), 5.0)  # type: ignore[arg-type]
    for seed, far in enumerate((0.1, 1.0, 100.0)):
        found = gains(g, far * normal(1, *shape, seed=seed))
        assert max(found) <= 10
    assert found[0] > 1.02


def test_the_budget_is_shared_by_the_blocks() -> None:
    g = iresnet_backbone((1, 8, 8), IResNetConfig(levels=2, blocks=2, width=4, gain_budget=16.0))
    contractions = [block.contraction for block in g if isinstance(block, ContractiveResidual)]
    assert contractions == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_layers_of_a_residual_share_its_constant(depth: int) -> None:
    residual = BoundedResidual((1,), width=1, depth=depth, contraction=0.8, activation="elu", categories={}).double()
    for parameter in residual.parameters():  # all positive: ELU is the identity there
        torch.nn.init.constant_(parameter, 9.0)
    slope = torch.autograd.functional.jacobian(residual, torch.ones(1, 1, dtype=torch.float64)).item()
    assert 0.99 ** (depth + 2) * 0.8 <= slope <= 0.8


def test_residuals_keep_their_constant_and_reach_it_nearly() -> None:
    torch.manual_seed(0)
    residual = BoundedResidual((6,), width=12, depth=1, contraction=0.8, activation="maxmin", categories={}).double()
    for parameter in residual.parameters():
        torch.nn.init.normal_(parameter)
    jacobians = [torch.autograd.functional.jacobian(residual, normal(1, 6, seed=seed)).reshape(6, 6) for seed in range(20)]
    largest_norm = max(float(torch.linalg.matrix_norm(jacobian, 2)) for jacobian in jacobians)
    assert 0.2 < largest_norm <= 0.8


def test_the_mixing_follows_the_seed() -> None:
    first, again, other = (iresnet_backbone((4,), IResNetConfig(**SMALL, seed=seed))[-1] for seed in (0, 0, 1))
    assert isinstance(first, FixedOrthogonal)
    assert torch.equal(first.factors["right"], again.factors["right"])
    assert not torch.equal(first.factors["right"], other.factors["right"])


def test_iterations_and_tolerance_reach_the_blocks() -> None:
    g = iresnet_backbone((4,), IResNetConfig(**SMALL, tolerance=1e-3, max_iterations=7))
    assert {(block.tolerance, block.max_iterations) for block in g if isinstance(block, ContractiveResidual)} == {(1e-3, 7)}


def test_large_networks_refuse_the_log_determinant_and_say_which_part() -> None:
    with pytest.raises(LogDetUnavailableError, match=r"position 1 \(ContractiveResidual\)"):
        iresnet_backbone((1, 10, 10), IResNetConfig(**SMALL)).forward_and_logdet(torch.zeros(1, 1, 10, 10))


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValidationError, match="give one of them"):
        IResNetConfig(gain_budget=10.0, contraction=0.5)
    with pytest.raises(ValidationError, match="width = 5 is odd"):
        IResNetConfig(width=5)
    for options in ({"contraction": 1.0}, {"gain_budget": 1.0}, {"blocks": 0}, {"activation": "relu"}):
        with pytest.raises(ValidationError):
            IResNetConfig.model_validate(options)


def test_the_flow_task_trains_and_reports_with_it(tmp_path: Path) -> None:
    backbone = {"name": "iresnet", "width": 8, "blocks": 2}
    recipe = {
        "condition": "none",
        "reconstruction": {"steps": 4, "batch_size": 32, "lipschitz": {"bound": 1.0, "every": 2}},
        "prior": {"steps": 4, "batch_size": 32, "backbone": {**backbone, "activation": "elu"}},
    }
    parts = ModelConfig(task=Component(name="flow", latent_prior=recipe), backbone=Component.model_validate(backbone), core=Component(name="gaussian", rank=3))
    table = TensorTable(x=normal(100, 6).float())
    splits = Splits(DataInfo(name="noise", shape=(6,)), table, table, table)
    task, model = build_model(parts, splits.info, seed=0)
    fit(task, model, splits, TrainingConfig(output=tmp_path / "run", log_every=1))
    assert model.gy.inverse_kind == "iterative"
    assert all(block.residual.layers[-1].weight.abs().max() > 0 for block in model.modules() if isinstance(block, ContractiveResidual))
    metrics = task.evaluate(model.eval(), splits, tmp_path / "report").metrics
    assert 2 <= metrics["inverse_iterations"] <= 60
    assert 0 < metrics["inverse_error_bound"] < 1e-4
    assert metrics["invertibility_max_abs_err"] < 5e-6
    assert metrics["invertibility_max_abs_err_float64"] < 1e-11
    assert metrics["superposition_rel_err"] < 1e-5


def test_the_hook_names_what_exists_without_torch() -> None:
    (spec,) = linearizer_backbones()
    spec.check()
    assert spec.load_target() is iresnet_backbone
    assert spec.load_config() is IResNetConfig
    assert "fixed point" in spec.details
    code = "import sys, linearizer_iresnet.hooks, linearizer_iresnet.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
