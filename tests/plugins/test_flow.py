"""The flow task on the digits: building, losses, stages, sampling and the report."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from linearizer_core.bijections import Bijection, Identity
from linearizer_core.config import Component, ModelConfig, PerceptualConfig, TrainingConfig
from linearizer_core.data import Batch, DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError, DataError, NoTerminalLimitError, UnknownSolverError
from linearizer_core.factory import build_model, create_backbone, create_core, create_dataset
from linearizer_core.features.perceptual import PerceptualDistance
from linearizer_core.metrics import relative_error
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import Mask
from linearizer_core.operators.flow import time_grid
from linearizer_core.task import BuildContext, Task
from linearizer_core.training import fit
from linearizer_flow.latent_prior import LatentPriorBijection
from linearizer_flow.sampling import Loop, flow_core, generate, generate_by_loop

BACKBONE = {"levels": [{"couplings": 2, "width": 8}], "dense": {"couplings": 2, "width": 32}, "normalize": {"shift": -0.3, "scale": 2.0}}
PRIOR = {"name": "coupling", "dense": {"couplings": 4, "width": 32}, "class_scale": True, "final_mixing": False}
INFO = DataInfo(name="digits", shape=(1, 8, 8), classes=10)


@pytest.fixture(scope="module")
def splits() -> Splits:
    loaded: Splits = create_dataset("digits").load()
    return loaded


def latent_prior(condition: str = "label", *, steps: int = 30, info: DataInfo = INFO, **recipe: Any) -> tuple[Task, LinearizerModel]:
    prior = PRIOR if condition != "none" else {**PRIOR, "class_scale": False}
    options = {
        "condition": condition,
        "clusters": 5,
        "reconstruction": {"steps": steps, "batch_size": 64, "warmup_steps": 2},
        "prior": {"steps": steps, "batch_size": 128, "warmup_steps": 2, "backbone": prior},
        **recipe,
    }
    task = Component(name="flow", latent_prior=options, evaluation={"samples": 200})
    return build_model(ModelConfig(task=task, backbone=Component(name="coupling", **BACKBONE), core=Component(name="gaussian", rank=12)), info, seed=0)


def published(core: str, *, steps: int = 20, info: DataInfo = INFO, **recipe: Any) -> tuple[Task, LinearizerModel]:
    options = {"training": {"steps": steps, "batch_size": 64}, **recipe}
    task = Component(name="flow", recipe="published", published=options, evaluation={"samples": 200}, sampling={"steps": 20})
    return build_model(ModelConfig(task=task, backbone=Component(name="coupling", **BACKBONE), core=Component(name=core, rank=4)), info, seed=0)


def trained(made: tuple[Task, LinearizerModel], splits: Splits, folder: Path) -> tuple[Task, LinearizerModel]:
    task, model = made
    fit(task, model, splits, TrainingConfig(output=folder, checkpoint_every=1000))
    return task, model.eval()


@pytest.fixture(scope="module", params=["label", "cluster", "none"])
def by_condition(request: pytest.FixtureRequest, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Task, LinearizerModel]:
    return (request.param, *trained(latent_prior(request.param), splits, tmp_path_factory.mktemp(request.param)))


def bijection_of(model: LinearizerModel) -> LatentPriorBijection:
    assert isinstance(model.gy, LatentPriorBijection)
    return model.gy


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- building ------------------------------------------------------------------------------------


def test_noise_needs_no_network_in_the_latent_prior_recipe() -> None:
    _, model = latent_prior()
    assert isinstance(model.gx, Identity)
    assert model.conditions == {"label": 10}


@pytest.mark.parametrize(
    ("core", "recipe", "expected"),
    [
        ("low_rank", {}, "core.name = 'gaussian'"),
        ("gaussian", {"prior": {"steps": 1, "batch_size": 8, "backbone": {"name": "coupling", "class_scale": True, "levels": [{"couplings": 2}]}}}, "levels"),
    ],
)
def test_unfit_components_are_refused_with_the_fix(core: str, recipe: dict[str, Any], expected: str) -> None:
    task = Component(name="flow", latent_prior=recipe)
    with pytest.raises(ConfigError, match=expected):
        build_model(ModelConfig(task=task, backbone=Component(name="coupling", **BACKBONE), core=Component(name=core, rank=4)), INFO)


def test_core_without_time_is_refused() -> None:
    config = ModelConfig(
        task=Component(name="flow", recipe="published"), backbone=Component(name="coupling", **BACKBONE), core=Component(name="projector", rank=4)
    )
    with pytest.raises(ConfigError, match="depends on time"):
        build_model(config, INFO)


def test_label_condition_on_unlabelled_data_names_the_alternatives() -> None:
    with pytest.raises(ConfigError, match="'cluster' or 'none'"):
        latent_prior(info=DataInfo(name="plain", shape=(1, 8, 8)))


# --- losses ----------------------------------------------------------------------------------------


def test_reconstruction_loss_is_the_stated_formula(splits: Splits) -> None:
    task, model = latent_prior()
    stage = task.stages()[0]
    batch = stack(splits.train, 64)
    terms = stage.loss(model, batch, seeded())
    body, x = bijection_of(model).body, batch["x"]
    kept, tail = body(x)[:, :12], body(x)[:, 12:]
    decoded = body.inverse(torch.cat([kept + 0.15 * torch.randn(64, 12, generator=seeded()), torch.zeros_like(tail)], 1))
    centred = kept - kept.mean(0)
    moments = (centred.T @ centred / 63 - torch.eye(12)).square().sum() / 12 + kept.mean(0).square().mean()
    expected = 40 * (decoded - x).square().mean() + 3 * tail.square().mean() + 0.1 * moments
    torch.testing.assert_close(terms["loss"], expected)


def test_published_loss_is_the_stated_formula(splits: Splits) -> None:
    task, model = published("low_rank")
    batch = stack(splits.train, 16)
    terms = task.stages()[0].loss(model, batch, seeded())
    generator, core, x = seeded(), flow_core(model), batch["x"]
    noise = torch.randn(x.shape, generator=generator)
    start, end = model.gx(noise), model.gy(x)
    time = torch.rand(16, generator=generator)
    point = (1 - time[:, None]) * start + time[:, None] * end
    predicted = torch.stack([core.at(float(t))(z) for t, z in zip(time, point, strict=True)])
    shaken_start = start + 0.3 * torch.randn(start.shape, generator=generator)
    shaken_end = end + 0.3 * torch.randn(end.shape, generator=generator)
    expected = {
        "end_point": (predicted - end).square().mean(),
        "noise": (model.gx.inverse(shaken_start) - noise).square().mean(),
        "data": (model.gy.inverse(shaken_end) - x).square().mean(),
        "prediction": (model.gy.inverse(predicted) - x).square().mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(terms["loss"], sum(expected.values()), rtol=1e-4, atol=1e-6)


def first_losses(made: tuple[Task, LinearizerModel], splits: Splits, folder: Path, count: int) -> list[float]:
    task, model = made
    fit(task, model, splits, TrainingConfig(output=folder, checkpoint_every=1000, log_every=1))
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["stage_step"] <= count]


def test_golden_losses(splits: Splits, tmp_path: Path) -> None:
    found = first_losses(latent_prior(steps=3), splits, tmp_path / "a", 3) + first_losses(published("shared_subspace", steps=3), splits, tmp_path / "b", 3)
    assert found == pytest.approx(GOLDEN, rel=2e-5)


# --- stages ----------------------------------------------------------------------------------------


def test_each_stage_trains_its_own_part(splits: Splits) -> None:
    task, model = latent_prior()
    bijection = bijection_of(model)
    first, second = ({id(p) for p in stage.parameters(model)} for stage in task.stages())
    assert first == {id(p) for p in bijection.body.parameters()}
    assert second == {id(p) for p in bijection.prior.parameters()}


def test_prior_sees_white_latents_and_all_categories(by_condition: tuple[str, Task, LinearizerModel], splits: Splits) -> None:
    condition, task, model = by_condition
    latents = stack(task.stages()[1].dataset(model, splits))
    torch.testing.assert_close(torch.cov(latents["u"].double().T, correction=0), torch.eye(12, dtype=torch.float64), atol=2e-4, rtol=0)
    assert ("category" in latents) == (condition != "none")
    if condition != "none":
        counts = torch.bincount(latents["category"]).double()
        torch.testing.assert_close(bijection_of(model).categories.frequencies, counts / counts.sum())


def test_clusters_are_the_nearest_centroids(splits: Splits, tmp_path: Path) -> None:
    task, model = trained(latent_prior("cluster", steps=2), splits, tmp_path)
    bijection, table = bijection_of(model), stack(task.stages()[1].dataset(model, splits))
    inferred = bijection.infer_condition(stack(splits.train)["x"], None)
    assert inferred is not None
    assert torch.equal(inferred["cluster"], table["category"])
    distances = (table["u"][:, None] - bijection.categories.centroids[None]).norm(dim=2)
    assert torch.equal(distances.argmin(1), table["category"])
    means = torch.stack([table["u"][table["category"] == k].mean(0) for k in range(5)])
    torch.testing.assert_close(means, bijection.categories.centroids, atol=0.15, rtol=0)


def test_examples_bring_their_conditions_and_share_a_space(by_condition: tuple[str, Task, LinearizerModel], splits: Splits) -> None:
    condition, task, model = by_condition
    batch = stack(splits.test, 20)
    found = task.condition(model, batch)
    assert (set(found) if found else set()) == set(model.gy.conditions)
    if condition == "label":
        assert found is not None
        assert torch.equal(found["label"], batch["label"])
    assert set(found or ()) <= {condition}
    space = task.data_space(model)
    assert space.condition is None
    torch.testing.assert_close(space.lerp(batch["x"][:10], batch["x"][10:], 1.0), batch["x"][10:], atol=1e-4, rtol=0)


def test_training_lowers_both_losses(splits: Splits, tmp_path: Path) -> None:
    task, model = trained(latent_prior(steps=60), splits, tmp_path)
    batch = stack(splits.test)
    fresh_task, fresh = latent_prior(steps=60)
    before, after = (stages[0].loss(m, batch, seeded())["loss"] for stages, m in ((fresh_task.stages(), fresh), (task.stages(), model)))
    assert after < 0.5 * before
    losses = [json.loads(line)["loss"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if '"prior"' in line]
    assert losses[-1] < losses[0] - 1


@pytest.mark.parametrize("step", [3, 6, 9])
def test_resume_gives_the_bits_of_the_uninterrupted_run(step: int, splits: Splits, tmp_path: Path) -> None:
    def run(folder: Path) -> LinearizerModel:
        task, model = latent_prior("cluster", steps=6)
        fit(task, model, splits, TrainingConfig(output=folder, mixed_precision="bf16", checkpoint_every=1, keep_checkpoints=99))
        return model

    whole = run(tmp_path / "whole").state_dict()
    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    for folder in (tmp_path / "parts" / "checkpoints").glob("0*"):
        if int(folder.name) > step:
            shutil.rmtree(folder)
    resumed = run(tmp_path / "parts").state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


# --- sampling --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["euler", "midpoint", "rk4"])
def test_one_step_equals_the_loop_on_the_same_noise(by_condition: tuple[str, Task, LinearizerModel], solver: str) -> None:
    _, _, model = by_condition
    noise, condition = torch.randn(16, 64, generator=seeded()), bijection_of(model).categories.draw(16, seeded())
    operator = flow_core(model).propagator(time_grid(50), solver)
    with torch.no_grad():
        assert (
            relative_error(
                generate(model, noise, condition, operator.to(torch.float32)), generate_by_loop(model, noise, condition, Loop(flow_core(model), 50, solver))
            )
            < 1e-5
        )
        wide, double = noise.double(), copy.deepcopy(model).double()
        operator = flow_core(double).propagator(time_grid(50), solver)
        assert (
            relative_error(generate(double, wide, condition, operator), generate_by_loop(double, wide, condition, Loop(flow_core(double), 50, solver))) < 1e-12
        )


def test_exact_limit_is_a_projector_onto_the_kept_coordinates(by_condition: tuple[str, Task, LinearizerModel]) -> None:
    _, task, model = by_condition
    operator = task.collapsed(model)
    assert isinstance(operator, Mask)
    assert operator.rank() == 12
    x = torch.rand(5, 1, 8, 8, generator=seeded())
    space = model.codomain(bijection_of(model).categories.draw(5, seeded()))
    once = space.from_latent(operator(space.to_latent(x)))
    assert (space.from_latent(operator(space.to_latent(once))) - once).abs().max() < 1e-4


def test_sampling_is_repeatable_and_follows_its_options(by_condition: tuple[str, Task, LinearizerModel]) -> None:
    condition, task, model = by_condition

    def draw(**options: Any) -> Tensor:
        return task.sample(model, 6, seeded(), options)

    assert torch.equal(draw(), draw())
    assert draw().shape == (6, 1, 8, 8)
    assert not torch.equal(draw(), draw(temperature=0.5))
    assert relative_error(draw(steps=400), draw()) < 0.2  # the loop tends to the exact limit
    assert relative_error(draw(steps=400), draw()) < relative_error(draw(steps=10), draw())
    same = draw(temperature=0.0, label=1) if condition != "none" else draw(temperature=0.0)
    torch.testing.assert_close(same, same[:1].expand_as(same))
    if condition != "none":
        assert not torch.allclose(same, draw(temperature=0.0, label=2))


def test_one_step_and_loop_end_alike_where_a_solver_is_named(by_condition: tuple[str, Task, LinearizerModel]) -> None:
    _, task, model = by_condition
    operator = task.collapsed(model)

    def draw(**options: Any) -> Tensor:
        return task.sample(model, 6, seeded(), options, operator=operator)

    steps = task.collapse().steps  # type: ignore[union-attr]
    for solver in ("euler", "rk4"):
        for ending in ({}, {"terminal": "limit"}):
            assert relative_error(draw(solver=solver, **ending), draw(steps=steps, solver=solver, **ending)) < 1e-5
    assert relative_error(draw(solver="rk4"), draw(solver="rk4", terminal="limit")) > 1e-4
    assert torch.equal(draw(solver="exact"), draw())
    assert torch.equal(draw(rank=12), draw())
    assert not torch.allclose(draw(rank=5), draw())
    assert relative_error(draw(rank=11), draw()) < relative_error(draw(rank=2), draw())


def test_sampling_refuses_what_it_does_not_know(by_condition: tuple[str, Task, LinearizerModel]) -> None:
    _, task, model = by_condition
    with pytest.raises(ConfigError, match="did you mean 'steps'"):
        task.sample(model, 1, seeded(), {"step": 3})
    with pytest.raises(ConfigError, match="label = 77"):
        task.sample(model, 1, seeded(), {"label": 77})
    with pytest.raises(ConfigError, match="rank = 2 cuts the collapsed operator, but steps = 3 runs the loop"):
        task.sample(model, 1, seeded(), {"steps": 3, "rank": 2})
    with pytest.raises(ValueError, match="no solver 'rk5'"):
        task.sample(model, 1, seeded(), {"steps": 3, "solver": "rk5"})


def test_sampling_at_temperature_zero_does_not_depend_on_the_seed(by_condition: tuple[str, Task, LinearizerModel]) -> None:
    condition, task, model = by_condition
    options = {"temperature": 0.0} | ({"label": 0} if condition != "none" else {})
    assert torch.equal(task.sample(model, 2, seeded(1), options), task.sample(model, 2, seeded(2), options))


def test_labels_are_needed_to_encode(splits: Splits) -> None:
    _, model = latent_prior()
    with pytest.raises(ValueError, match="give one label"):
        bijection_of(model).infer_condition(stack(splits.test, 3)["x"], None)


@pytest.mark.parametrize(
    ("core", "sampling", "error"),
    [("low_rank", {"terminal": "limit"}, NoTerminalLimitError), ("shared_subspace", {"solver": "exact"}, UnknownSolverError)],
)
def test_a_collapse_that_cannot_be_is_refused_before_training(core: str, sampling: dict[str, Any], error: type[Exception]) -> None:
    task = Component(name="flow", recipe="published", sampling=sampling)
    with pytest.raises(error, match="it offers"):
        build_model(ModelConfig(task=task, backbone=Component(name="coupling", **BACKBONE), core=Component(name=core, rank=4)), INFO)


def test_a_backbone_whose_inverse_has_no_gradient_is_refused() -> None:
    task, _ = published("low_rank")

    def backbone(shape: tuple[int, ...], conditions: dict[str, int] | None) -> Bijection:
        g = create_backbone("coupling", shape, **BACKBONE)
        g.inverse_grad = "none"
        return g

    with pytest.raises(ConfigError, match="declares inverse_grad = 'none'; choose another"):
        task.build(BuildContext(INFO, backbone, lambda shape, conditions: create_core("low_rank", shape, rank=2)))


# --- a core under labels ---------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["shared_subspace", "low_rank"])
def of_labels(request: pytest.FixtureRequest, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, LinearizerModel]:
    task, model = trained(published(request.param, condition="label"), splits, tmp_path_factory.mktemp(request.param))
    with torch.no_grad():  # so few steps hardly tell labels apart
        for table in model.core.network.embedding.tables.values():  # type: ignore[union-attr, operator]
            table.mul_(5)
        if request.param == "shared_subspace":
            model.core.network.output.weight.add_(0.02)  # type: ignore[union-attr, operator]
    return task, model


def test_each_label_is_an_operator_of_its_own_and_is_guided_to(of_labels: tuple[Task, LinearizerModel]) -> None:
    task, model = of_labels
    assert model.core.conditions == {"label": 11}
    operator = task.collapsed(model)

    def draw(**options: Any) -> Tensor:
        return task.sample(model, 5, seeded(), options, operator=operator)

    assert torch.equal(draw(), task.sample(model, 5, seeded(), {}))  # any label
    assert not torch.allclose(draw(label=3), draw(label=4))
    assert not torch.allclose(draw(label=3), draw())
    assert relative_error(draw(label=3, guidance=0.0), draw()) < 1e-5
    assert not torch.allclose(draw(label=3, guidance=2.0), draw(label=3))
    for options in ({}, {"label": 3}, {"label": 3, "guidance": 2.0}):
        one_step, loop = draw(solver="rk4", **options), draw(steps=20, solver="rk4", **options)
        assert relative_error(one_step, loop) < 1e-5


def test_labels_reach_the_core_in_training_and_some_are_hidden(splits: Splits) -> None:
    losses = {}
    for dropout in (0.0, 1.0):
        task, model = published("shared_subspace", condition="label", training={"steps": 5, "batch_size": 16, "label_dropout": dropout})
        model.core.network.output.weight.data.normal_()  # type: ignore[union-attr, operator]
        (stage,) = task.stages()
        x = stack(splits.train, 16)["x"]
        for shift in (0, 1):
            labels = (torch.arange(16) + shift) % 10
            losses[dropout, shift] = stage.loss(model, {"x": x, "label": labels}, seeded())["loss"].item()
    assert losses[0.0, 0] != losses[0.0, 1]
    assert losses[1.0, 0] == losses[1.0, 1]


def test_a_core_under_labels_is_measured_by_label(of_labels: tuple[Task, LinearizerModel], splits: Splits, tmp_path: Path) -> None:
    task, model = of_labels
    report = task.evaluate(model, splits, tmp_path, operator=task.collapsed(model))
    assert 0 <= report.metrics["label_agreement"] <= 1
    assert report.metrics["one_step_vs_loop_rel_err_rk4"] < 1e-4


def test_what_labels_cannot_do_is_refused(of_labels: tuple[Task, LinearizerModel], by_condition: tuple[str, Task, LinearizerModel]) -> None:
    task, model = of_labels
    for options, message in (
        ({"label": 10}, "knows the labels 0 to 9"),
        ({"guidance": 2.0}, "guidance = 2.0: it needs a label"),
    ):
        with pytest.raises(ConfigError, match=message):
            task.sample(model, 1, seeded(), options)
    _, other, plain = by_condition
    with pytest.raises(ConfigError, match="it needs a core that is conditioned on labels"):
        other.sample(plain, 1, seeded(), {"guidance": 2.0})
    with pytest.raises(ConfigError, match="GaussianCore takes no conditions"):
        published("gaussian", condition="label")
    with pytest.raises(ConfigError, match="the data have no labels"):
        published("low_rank", condition="label", info=DataInfo(name="digits", shape=(1, 8, 8)))


# --- report ----------------------------------------------------------------------------------------

WANTED = {
    "one_step_vs_loop_rel_err_euler", "one_step_vs_loop_rel_err_rk4", "invertibility_max_abs_err", "superposition_rel_err", "frechet_one_step", "frechet_loop",
    "frechet_test_floor", "frechet_noise", "features", "inversion_psnr_db", "collapse_seconds", "one_step_seconds", "loop_seconds", "parameters",
}  # fmt: skip


def check_report(task: Task, model: LinearizerModel, splits: Splits, folder: Path) -> dict[str, Any]:
    report = task.evaluate(model, splits, folder)
    metrics = report.metrics
    assert metrics.keys() >= WANTED
    json.dumps(metrics)
    assert metrics["one_step_vs_loop_rel_err_euler"] < 1e-5
    assert metrics["one_step_vs_loop_rel_err_rk4"] < 1e-5
    assert metrics["invertibility_max_abs_err"] < 1e-5
    assert metrics["invertibility_max_abs_err_float64"] < 1e-10
    assert metrics["superposition_rel_err"] < 1e-4
    assert metrics["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    for name in report.figures:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200
            assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 20
    assert set(report.notes) >= metrics.keys() - {"train_seconds"}
    return metrics


def test_report_of_the_latent_prior(by_condition: tuple[str, Task, LinearizerModel], splits: Splits, tmp_path: Path, cache: Path) -> None:
    condition, task, model = by_condition
    metrics = check_report(task, model, splits, tmp_path)
    assert metrics["idempotency_max_abs_err"] < 1e-4
    assert metrics["rank"] == 12
    assert metrics["inversion_psnr_db_invertible"] > metrics["inversion_psnr_db"] + 20
    assert metrics["frechet_test_floor"] < metrics["frechet_one_step"]
    assert metrics["frechet_loop"] == pytest.approx(metrics["frechet_one_step"], rel=0.2)
    assert ("label_agreement" in metrics) == (condition == "label")


def test_report_on_pretrained_features_needs_no_labels(weights: Path, tmp_path: Path) -> None:
    table = TensorTable(x=torch.rand(40, 3, 8, 8, generator=seeded()))
    info = DataInfo(name="colours", shape=(3, 8, 8))
    features = {"model": "resnet10t", "weights": str(weights), "size": 32}
    task = Component(name="flow", latent_prior={"condition": "none"}, evaluation={"samples": 100, "features": features})
    made, model = build_model(ModelConfig(task=task, backbone=Component(name="coupling", **BACKBONE), core=Component(name="gaussian", rank=12)), info)
    metrics = made.evaluate(model.eval(), Splits(info, table, table, table), tmp_path).metrics
    assert metrics["pretrained_features"] == "resnet10t-32"
    assert metrics["pretrained_frechet_test_floor"] == pytest.approx(0, abs=1e-3)
    assert metrics["pretrained_frechet_one_step"] > 0.1
    assert "frechet_one_step" not in metrics


@pytest.mark.parametrize("core", ["low_rank", "shared_subspace"])
def test_report_of_the_published_recipe(core: str, splits: Splits, tmp_path: Path, cache: Path) -> None:
    task, model = trained(published(core), splits, tmp_path / "run")
    metrics = check_report(task, model, splits, tmp_path)
    assert "idempotency_max_abs_err" not in metrics


@pytest.mark.parametrize("classes", [0, 2])
def test_report_of_vectors_has_neither_pictures_nor_what_belongs_to_images(classes: int, tmp_path: Path) -> None:
    table = TensorTable(x=torch.randn(40, 6, generator=seeded()), **({"label": torch.arange(40) % 2} if classes else {}))
    info = DataInfo(name="points", shape=(6,), classes=classes)
    prior = {"backbone": {"name": "coupling", "dense": {"couplings": 2, "width": 8}}}
    task = Component(name="flow", latent_prior={"condition": "label" if classes else "none", "prior": prior})
    config = ModelConfig(task=task, backbone=Component(name="coupling", dense={"couplings": 2, "width": 8}), core=Component(name="gaussian", rank=3))
    made, model = build_model(config, info)
    report = made.evaluate(model.eval(), Splits(info, table, table, table), tmp_path)
    assert report.metrics["one_step_vs_loop_rel_err_rk4"] < 1e-5
    assert not any(name.startswith(("frechet", "inversion")) for name in report.metrics)
    assert report.figures == ()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier of the Frechet distance is trained once for this module."""
    folder = tmp_path_factory.getbasetemp() / "flow-cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINEARIZER_CACHE", str(folder))
        yield folder  # type: ignore[misc]


# --- perceptual distance -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(0)
    save_file({name: value.contiguous() for name, value in timm.create_model("resnet10t", pretrained=False).state_dict().items()}, path)
    return path


def test_perceptual_distance_of_local_weights(weights: Path) -> None:
    distance = PerceptualDistance(PerceptualConfig(model="resnet10t", weights=weights, layers=2)).train()
    x = torch.rand(3, 1, 28, 28, generator=seeded()).requires_grad_()
    assert float(distance(x, x).detach()) == 0
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    value = distance(blurred, x)
    value.backward()
    assert float(value.detach()) > 0
    assert x.grad is not None
    assert bool((x.grad != 0).any())
    assert not any(parameter.requires_grad for parameter in distance.parameters())
    assert torch.equal(distance(blurred, x), distance(blurred, x))  # batch statistics do not move


def test_perceptual_weights_that_do_not_fit_are_refused(weights: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes()[:1000])
    partial = tmp_path / "partial.safetensors"
    save_file({"conv1.0.weight": torch.zeros(1)}, partial)
    for path, message in ((damaged, "safetensors"), (partial, "lacks"), (tmp_path / "absent.safetensors", "absent")):
        with pytest.raises(DataError, match=message):
            PerceptualDistance(PerceptualConfig(model="resnet10t", weights=path))
    with pytest.raises(ConfigError, match="no model 'resnet10x'"):
        PerceptualDistance(PerceptualConfig(model="resnet10x", weights=weights))
    with pytest.raises(ConfigError, match="feature maps"):
        PerceptualDistance(PerceptualConfig(model="resnet10t", weights=weights, layers=9))


def test_weights_that_cannot_be_fetched_name_the_local_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise FileNotFoundError("an error happened while trying to locate the file on the Hub")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match=r"locate the file on the Hub; .*set perceptual.weights to a safetensors file"):
        PerceptualDistance(PerceptualConfig(model="resnet10t"))


def test_perceptual_term_enters_both_recipes(weights: Path, splits: Splits) -> None:
    perceptual = {"model": "resnet10t", "weights": str(weights), "layers": 1}
    batch: Batch = stack(splits.train, 8)
    task, model = latent_prior(perceptual=perceptual)
    terms = task.stages()[0].loss(model, batch, seeded())
    assert float(terms["perceptual"].detach()) > 0
    plain, _ = latent_prior()
    assert torch.equal(terms["loss"], plain.stages()[0].loss(model, batch, seeded())["loss"])  # weight 0 by default


# Three steps of the reconstruction, prior and published losses; seed 0, one thread or two.
GOLDEN = [6.3118382, 6.1477289, 6.0423541, 6.4228492, 5.7900243, 5.4985647, 0.8706992, 0.8540003, 0.8370322]
