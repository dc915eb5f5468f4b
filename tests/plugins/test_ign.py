"""The idempotent network on the digits: exactness, losses, damage, samples and the report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from linearizer_core.config import Component, ModelConfig, TrainingConfig
from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError
from linearizer_core.factory import build_model, create_core, create_dataset
from linearizer_core.metrics import psnr
from linearizer_core.operators import Mask
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig
from linearizer_core.task import Task
from linearizer_core.testing.perturb import perturb
from linearizer_core.training import fit
from linearizer_ign.cli import app
from linearizer_ign.config import CorruptionConfig, ProjectionConfig
from linearizer_ign.corruption import add_noise, blur, corrupt, invert, occlude
from linearizer_ign.evaluation import damage, leading_part
from linearizer_ign.letters import ALPHABETS, letters
from linearizer_ign.model import IdempotentModel
from linearizer_ign.stage import ProjectionStage

BACKBONE = Component(name="coupling", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 2, "width": 32}, normalize={"shift": -0.3, "scale": 2.0})
PRIOR = {"name": "coupling", "dense": {"couplings": 4, "width": 32}, "class_scale": True, "final_mixing": False}
LATTICE = Component(name="lattice", levels=[{"couplings": 2, "width": 8}], dense={"couplings": 2, "width": 32})
CORE = Component(name="projector", rank=8)
CORES = {
    "leading": {"rank": 8},
    "top_k": {"form": "top_k", "rank": 8},
    "rotated": {"form": "rotated", "rank": 8, "reflections": 3},
    "oblique": {"form": "oblique", "rank": 8},
    "learned": {"logit_mean": 0.0},
}


@pytest.fixture(scope="module")
def splits() -> Splits:
    return create_dataset("digits").load()


def build(info: DataInfo, core: dict[str, Any] | Component = CORES["leading"], backbone: Component = BACKBONE, **task: Any) -> tuple[Task, IdempotentModel]:
    chosen = core if isinstance(core, Component) else Component(name="projector", **core)
    generation = {"components": 8, **task.pop("generation", {})}
    config = ModelConfig(task=Component(name="ign", generation=generation, **task), backbone=backbone, core=chosen)
    made, model = build_model(config, info, seed=0)
    assert isinstance(model, IdempotentModel)
    return made, model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def trained(splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, IdempotentModel, Path]:
    folder = tmp_path_factory.mktemp("ign")
    task, model = build(
        splits.info,
        projection={"steps": 60, "batch_size": 32, "warmup_steps": 5},
        generation={"prior": {"steps": 60, "batch_size": 64, "warmup_steps": 5, "backbone": PRIOR}},
        evaluation={"samples": 200, "inputs": 20, "ranks": [1, 4, 8, 50]},
    )
    fit(task, model, splits, TrainingConfig(output=folder))
    return task, model.eval(), folder


# --- exactness ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 99), scale=st.sampled_from([0.1, 1.0, 5.0]))
def test_applied_twice_it_changes_nothing(core: str, seed: int, scale: float) -> None:
    _, model = build(DataInfo(name="spots", shape=(1, 8, 8), classes=3), CORES[core])
    perturb(model.double())
    f = model.eval().linearizer()
    x = scale * torch.randn(4, 1, 8, 8, dtype=torch.float64, generator=seeded(seed))
    with torch.no_grad():
        once = f(x)
        assert (f(once) - once).abs().max() < 1e-11 * max(1, float(once.abs().max()))
    assert (once - x).abs().max() > 1e-3


def test_on_a_lattice_not_one_bit_changes(splits: Splits) -> None:
    _, model = build(splits.info, backbone=LATTICE)
    f = model.eval().linearizer()
    for x in (stack(splits.test, 50)["x"], torch.rand(20, 1, 8, 8, generator=seeded()), 3 * torch.randn(20, 1, 8, 8, generator=seeded())):
        once = f(x)
        assert torch.equal(f(once), once)
    samples = model.generate(20, seeded())
    assert torch.equal(f(samples), samples)


@pytest.mark.parametrize("core", CORES)
def test_the_leading_part_of_a_projector_is_a_projector(core: str) -> None:
    torch.manual_seed(0)
    module = create_core("projector", (20, 20), **CORES[core]).double()
    perturb(module)
    operator = module.eval().operator()
    axes = torch.linalg.qr(operator(torch.randn(3, 20, dtype=torch.float64, generator=seeded())).mT)[0]
    part = leading_part(operator, axes)
    assert part.rank() == 3
    assert torch.allclose((part @ part).to_dense(), part.to_dense(), atol=1e-12)
    assert torch.allclose((part @ operator).to_dense(), part.to_dense(), atol=1e-12)


# --- building -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("core", "task", "message"),
    [
        (Component(name="gaussian", rank=8), {}, "the task ign needs a projector, GaussianCore depends on time; set core.name = 'projector'"),
        ({"rank": 8}, {"generation": {"condition": "label"}}, r"task.generation.condition = 'label', but the data have no labels"),
    ],
)
def test_what_cannot_be_built(core: Any, task: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(DataInfo(name="plain", shape=(1, 8, 8)), core, **task)


def test_a_core_that_is_no_projector_is_refused(splits: Splits) -> None:
    _, model = build(splits.info)

    class Half(torch.nn.Module):
        shape = model.core.shape
        conditions: dict[str, int] = {}

        def operator(self) -> Any:
            return 0.5 * Mask(torch.ones(64, dtype=torch.bool))

    with pytest.raises(ConfigError, match=r"the core Half is no projector: A A differs from A by 5\.0e-01"):
        IdempotentModel(model.gx, Half(), model.prior, model.categories)  # type: ignore[arg-type]


def test_vectors_have_no_pixels_to_damage() -> None:
    info = DataInfo(name="vectors", shape=(6,))
    options = {"backbone": Component(name="coupling", dense={"couplings": 2, "width": 8}), "generation": {"condition": "none", "components": 2}}
    with pytest.raises(ConfigError, match=r"task.projection.corruption damages images, the data have shape \(6,\); set it to none"):
        build(info, {"rank": 2}, **options)
    _, model = build(info, {"rank": 2}, projection={"corruption": None}, **options)
    assert model.generate(3, seeded()).shape == (3, 6)


# --- the loss ------------------------------------------------------------------------------------------


def test_the_terms_are_those_of_the_formula(splits: Splits) -> None:
    options = {"corruption": None, "latent_noise": 0.0, "rank_weight": 0.5, "rank_target": 3, "isometry_weight": 0.2, "distance": "l1"}
    _, model = build(splits.info)
    perturb(model.double())
    config = ProjectionConfig(**options)
    x = stack(splits.train, 32)["x"].double()
    found = ProjectionStage(config, None).loss(model, {"x": x}, seeded())
    z = model.gx(x)
    kept = torch.cat([z[:, :8], torch.zeros(32, 56, dtype=torch.float64)], 1)
    terms = {
        "reconstruction": (model.gx.inverse(kept) - x).abs().mean(),
        "residual": z[:, 8:].square().sum() / (32 * 64),
        "scale": (z[:, :8].square().sum() / (32 * 8) - 1) ** 2,
        "isometry": (z.square().sum(1) - (x - model.gx.inverse(torch.zeros_like(z[:1]))).square().flatten(1).sum(1)).abs().mean() / 64,
    }
    for name, value in terms.items():
        torch.testing.assert_close(found[name], value, rtol=1e-12, atol=0)
    total = 40 * terms["reconstruction"] + 3 * terms["residual"] + 0.1 * terms["scale"] + 0.2 * terms["isometry"] + 0.5 * (8 - 3) / 64
    torch.testing.assert_close(found["loss"], total, rtol=1e-12, atol=0)
    assert found["rank"] == 8


def test_damaged_images_are_compared_with_undamaged_ones(splits: Splits) -> None:
    _, model = build(splits.info, {"rank": 64})
    x = stack(splits.train, 64)["x"]
    stage = ProjectionStage(ProjectionConfig(latent_noise=0, corruption=CorruptionConfig(share=1, blur=0, occlusion=0)), None)
    found = stage.loss(model, {"x": x}, seeded())["reconstruction"]
    given, _ = corrupt(x, stage.config.corruption, seeded())  # type: ignore[arg-type]
    torch.testing.assert_close(found, (given - x).square().mean(), rtol=1e-4, atol=1e-6)  # of full rank f changes nothing, damage included


def test_rank_falls_to_its_target_and_no_further(splits: Splits, tmp_path: Path) -> None:
    task, model = build(
        splits.info,
        {"logit_mean": 1.0, "logit_std": 0.5, "logit_rate": 100.0},
        projection={"steps": 40, "batch_size": 16, "warmup_steps": 0, "rank_weight": 20.0, "rank_target": 20, "reconstruction_weight": 0.0, "ema": None},
        generation={"prior": {"steps": 1, "batch_size": 64}},
    )
    before = model.eval().core.operator().rank()
    fit(task, model.train(), splits, TrainingConfig(output=tmp_path))
    after = model.eval().core.operator().rank()
    logged = [json.loads(line)["rank"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines() if '"rank"' in line]
    assert before > 50
    assert 15 <= after <= 22
    assert logged[0] > logged[-1]


# --- damage -------------------------------------------------------------------------------------------


def test_noise_has_the_deviation_asked_for() -> None:
    x = torch.full((3, 1, 50, 50), 0.5)
    noisy = add_noise(x, torch.tensor([0.0, 0.2, 0.6]), seeded())
    assert torch.equal(noisy[0], x[0])
    assert noisy[1:].flatten(1).std(1).tolist() == pytest.approx([0.2, 0.6], rel=0.05)


def test_blur_spreads_a_point_and_keeps_what_is_constant() -> None:
    x = torch.zeros(2, 3, 21, 21)
    x[:, :, 10, 10] = 1
    soft = blur(x, torch.tensor([1.0, 2.0]))
    assert soft.sum((1, 2, 3)).tolist() == pytest.approx([3.0, 3.0], rel=1e-4)
    places = torch.arange(21) - 10.0
    variance = (soft[:, 0].sum(1) * places**2).sum(1) / soft[:, 0].sum((1, 2))
    assert variance.tolist() == pytest.approx([1.0, 4.0], rel=0.05)
    assert torch.allclose(blur(torch.full((2, 1, 8, 8), 0.3), torch.tensor([0.5, 3.0])), torch.tensor(0.3))


def test_occlusion_covers_a_square_inside() -> None:
    x = torch.ones(40, 3, 20, 20)
    share = torch.linspace(0, 0.5, 40)
    covered = occlude(x, share, seeded()) == 0.5
    assert covered.float().sum((1, 2, 3)).tolist() == [3 * side**2 for side in (share * 20).round().tolist()]
    assert torch.equal(covered[:, 0], covered[:, 2])
    assert covered[:, 0].any(0).float().mean() > 0.8  # everywhere in the image


@settings(deadline=None, max_examples=20)
@given(share=st.sampled_from([0.0, 0.3, 1.0]), ways=st.sets(st.sampled_from(["noise", "blur", "occlusion", "inversion"])), seed=st.integers(0, 99))
def test_only_what_was_damaged_differs(share: float, ways: set[str], seed: int) -> None:
    amounts = {"noise": 0.5, "blur": 1.5, "occlusion": 0.4, "inversion": True}
    config = CorruptionConfig(share=share, **{name: value if name in ways else 0 for name, value in amounts.items()})  # type: ignore[arg-type]
    x = torch.rand(30, 1, 8, 8, generator=seeded(seed))
    given_images, damaged = corrupt(x, config, seeded(seed))
    assert torch.equal(given_images[~damaged], x[~damaged])
    assert int(damaged.sum()) == (0 if not ways or not share else 30 if share == 1 else int(damaged.sum()))
    if ways == {"inversion"} and share:
        assert torch.equal(given_images[damaged], invert(x)[damaged])


def test_letters_are_bright_different_and_no_digits() -> None:
    drawn = letters((3, 28, 28), len(ALPHABETS))
    assert drawn.shape == (len(ALPHABETS), 3, 28, 28)
    assert (float(drawn.min()), float(drawn.max())) == (0.0, 1.0)
    assert len(torch.unique(drawn.flatten(1), dim=0)) == len(ALPHABETS) == len(set(ALPHABETS))
    assert not any(letter.isdigit() or letter.isascii() for letter in ALPHABETS)


# --- samples and the report ---------------------------------------------------------------------------


def test_samples_are_fixed_points_with_the_label_asked_for(trained: tuple[Task, IdempotentModel, Path]) -> None:
    task, model, _ = trained
    samples = task.sample(model, 30, seeded(), {"label": 3, "temperature": 0.5})
    assert torch.equal(samples, task.sample(model, 30, seeded(), {"label": 3, "temperature": 0.5}))
    assert not torch.equal(samples, task.sample(model, 30, seeded(), {"label": 4, "temperature": 0.5}))
    with torch.no_grad():
        assert (model.linearizer()(samples) - samples).abs().max() < 1e-5
    still = task.sample(model, 2, seeded(), {"label": 3, "temperature": 0})
    torch.testing.assert_close(still[0], still[1], rtol=0, atol=1e-5)
    with pytest.raises(ConfigError, match="label = 12: this model knows the labels 0 to 9"):
        task.sample(model, 1, seeded(), {"label": 12})


def test_the_report(trained: tuple[Task, IdempotentModel, Path], splits: Splits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    task, model, folder = trained
    monkeypatch.setenv("LINEARIZER_CACHE", str(tmp_path))
    report = task.evaluate(model, splits, folder)
    found = report.metrics
    assert (found["rank"], found["dimensions"]) == (8, 64)
    for name in ("data", "gaussian_0.1", "gaussian_0.5", "uniform", "saturated", "constant", "letters"):
        assert found[f"idempotency_{name}"] < 1e-5
    by_rank = found["psnr_db_by_rank"]
    assert list(by_rank) == ["1", "4", "8"]
    assert by_rank["1"] < by_rank["4"] < by_rank["8"] == pytest.approx(found["psnr_db"], abs=1e-9)
    with torch.no_grad():
        f, x = model.linearizer(), stack(splits.test)["x"]
        assert found["psnr_db"] == pytest.approx(psnr(f(x).clamp(0, 1), x), abs=1e-5)
        assert found["psnr_db_noise_projected"] == pytest.approx(psnr(f(damage(x)["noise"]).clamp(0, 1), x), abs=1e-5)
    assert found["psnr_db_noise"] < found["psnr_db_noise_projected"]
    generated = [value for name, value in found.items() if name.startswith("frechet_") and isinstance(value, float) and name != "frechet_test_floor"]
    assert len(set(generated)) == 6
    assert found["frechet_test_floor"] < min(generated)
    assert found["accuracy_clean"] > 0.9
    assert set(report.figures) == {"rank.png", "idempotency.png", "projections.png", "generated.png"}
    card = task.card(splits.info, found)
    assert {name for name in found if name.startswith("idempotency_")} <= set(card.exactness)
    assert set(card.measured) - {"frechet_test_floor"} <= report.notes.keys()
    assert "## Project" in card.section


def test_the_report_of_vectors_and_of_a_range_that_is_left(tmp_path: Path) -> None:
    x = torch.randn(120, 4, generator=seeded()) @ torch.diag(torch.tensor([1.0, 1.0, 0.1, 0.1]))
    tables = [TensorTable(x=part.contiguous()) for part in (x[:80], x[80:100], x[100:])]
    info = DataInfo(name="plane", shape=(4,))
    task, model = build(
        info,
        {"rank": 2},
        Component(name="lattice", bits=19, input="grid", dense={"couplings": 1, "width": 8}, shift_bound=0.5),
        projection={"corruption": None},
        generation={"condition": "none", "components": 2},
        evaluation={"inputs": 10},
    )
    found = task.evaluate(model.eval(), Splits(info, *tables), tmp_path).metrics
    assert found["idempotency_data"] == 0
    assert {name for name, value in found.items() if name.startswith("idempotency") and value not in (0, None)} == set()
    assert "frechet_prior" not in found
    assert math.isfinite(found["psnr_db"])


def test_damage_is_the_same_in_every_report(splits: Splits) -> None:
    x: Tensor = stack(splits.test, 20)["x"]
    first, second = damage(x), damage(x)
    assert all(torch.equal(first[name], second[name]) for name in first)


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(splits: Splits, trained: tuple[Task, IdempotentModel, Path]) -> Path:
    task, model, folder = trained
    parts = ModelConfig(task=Component(name="ign", generation={"components": 8, "prior": {"backbone": PRIOR}}), backbone=BACKBONE, core=CORE)
    return Pretrained(task, model, ArtifactConfig(model=parts, data=splits.info)).save_pretrained(folder / "model")


def test_pictures_are_projected_from_the_command_line(saved: Path, tmp_path: Path) -> None:
    for size, name in ((8, "same.png"), (40, "large.png")):
        Image.new("L", (size, size + 4), 90).save(tmp_path / name)
    call = CliRunner().invoke(app, ["project", str(tmp_path / "same.png"), str(tmp_path / "large.png"), "-m", str(saved), "-o", str(tmp_path / "out.png")])
    assert call.exit_code == 0, call.output
    assert "2 pictures projected; projecting them again changes no pixel by more than" in call.output
    lost = CliRunner().invoke(app, ["project", str(tmp_path / "same.png"), "-m", str(saved), "-o", str(tmp_path / "absent" / "out.png")])
    assert isinstance(lost.exception, ConfigError)
    with Image.open(tmp_path / "out.png") as drawn:
        assert min(drawn.size) > 100


def test_a_model_of_another_task_is_refused(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    call = CliRunner().invoke(app, ["project", str(tmp_path / "x.png"), "-m", "flow.cifar10"])
    assert isinstance(call.exception, ConfigError)
    assert "flow.cifar10 is a model of the task 'flow', expected one of the task 'ign'" in str(call.exception)
    assert isinstance(CliRunner().invoke(app, ["project", "x.png", "-m", "flow.cifar10", "-o", "x.gif"]).exception, ConfigError)
