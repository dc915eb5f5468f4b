"""The dynamics task: building, losses, prediction, the report, and the commands on what it trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from linearizer_core.bijections import Identity
from linearizer_core.config import Component, ModelConfig
from linearizer_core.cores import GeneratorCore
from linearizer_core.data import DataInfo, Splits, TensorTable, stack
from linearizer_core.errors import ConfigError, NoSamplesError, ShapeMismatchError
from linearizer_core.factory import build_model, create_core, create_dataset
from linearizer_core.markdown import figure
from linearizer_core.model import LinearizerModel
from linearizer_core.operators import DecayRotation, Dense
from linearizer_core.pretrained import load
from linearizer_core.task import Task
from linearizer_core.training import train
from linearizer_dynamics.evaluation import NOTES, relative_errors
from linearizer_dynamics.known import in_published_coordinates, known_spectrum
from linearizer_dynamics.prediction import decode, encode, predict, rollout
from linearizer_dynamics.spectrum import eigenvalues, written
from linearizer_dynamics.standardize import Standardize
from linearizer_dynamics.task import DynamicsTask
from tests.test_cli_plugged import call

SMALL: dict[str, Any] = {"name": "coupling", "dense": {"couplings": 2, "width": 8, "mask": "alternating"}, "levels": []}
FEW: dict[str, Any] = {"train": 40, "validation": 8, "test": 12, "steps": 6}
STAGE: dict[str, Any] = {"steps": 3, "batch_size": 8, "frames": 4, "warmup_steps": 0}


def built(data: Splits, core: dict[str, Any] | None = None, **task: Any) -> tuple[DynamicsTask, LinearizerModel]:
    options = {"training": STAGE, **task}
    config = ModelConfig(task=Component(name="dynamics", **options), backbone=Component(**SMALL), core=Component(name="generator", **(core or {})))
    made, model = build_model(config, data.info, 0)
    assert isinstance(made, DynamicsTask)
    return made, model


@pytest.fixture(scope="module")
def pendulum() -> Splits:
    loaded: Splits = create_dataset("pendulum", **FEW).load()
    return loaded


def batch_of(task: Task, model: LinearizerModel, data: Splits) -> dict[str, torch.Tensor]:
    task.stages()[0].begin(model, data)
    return stack(data.train, 8)


# --- building and loss -----------------------------------------------------------------------------------


def test_a_core_that_generates_no_flow_is_refused(pendulum: Splits) -> None:
    with pytest.raises(ConfigError, match=r"MaskProjector does not; set core\.name = 'generator'"):
        build_model(ModelConfig(task=Component(name="dynamics"), backbone=Component(**SMALL), core=Component(name="projector")), pendulum.info)


def test_data_without_trajectories_or_with_other_inputs_are_refused(pendulum: Splits) -> None:
    still = TensorTable(x=torch.rand(4, 2))
    task, model = built(pendulum)
    with pytest.raises(ConfigError, match="'still' has no 'later'"):
        task.stages()[0].begin(model, Splits(DataInfo(name="still", shape=(2,)), still, still, still))
    driven = create_dataset("slow_manifold", **FEW, control=1.0).load()
    with pytest.raises(ConfigError, match=r"set core\.controls = 1"):
        task.stages()[0].begin(model, driven)


def test_the_loss_is_that_of_its_formula(pendulum: Splits) -> None:
    """With all frames, forward, from the first: prediction in deviations, and latents."""
    task, model = built(pendulum, training={**STAGE, "frames": 7, "prediction_weight": 2.0, "latent_weight": 3.0})
    batch = batch_of(task, model, pendulum)
    found = task.stages()[0].loss(model, batch, torch.Generator().manual_seed(0))
    predicted = predict(model, batch["x"], batch["times"])
    deviation = torch.cat([stack(pendulum.train)["x"][:, None], stack(pendulum.train)["later"]], 1).flatten(0, 1).std(0, correction=0)
    prediction = ((predicted - batch["later"]) / deviation).square().mean()
    core = model.core
    assert isinstance(core, GeneratorCore)
    latent = (core.evolve(encode(model, batch["x"][:, None]), batch["times"]) - encode(model, batch["later"])).square().mean()
    assert torch.allclose(found["prediction"], prediction, rtol=1e-4)
    assert torch.allclose(found["latent"], latent, rtol=1e-4)
    assert torch.allclose(found["loss"], 2 * prediction + 3 * latent, rtol=1e-4)


def test_backward_training_predicts_the_past_too(pendulum: Splits) -> None:
    spans = {}
    for backward in (False, True):
        task, model = built(pendulum, training={**STAGE, "backward": backward})
        batch = batch_of(task, model, pendulum)
        states = torch.cat([batch["x"][:, None], batch["later"]], 1)
        times = torch.nn.functional.pad(batch["times"], (1, 0))
        drawn, moments = task.stages()[0]._drawn(states, times, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
        assert drawn.shape == (8, 4, 2)
        assert all(len(set(row.tolist())) == 4 for row in moments)
        spans[backward] = moments[:, 1:] - moments[:, :1]
        where = (times[0] == moments[0, 2]).nonzero().item()
        assert torch.equal(drawn[0, 2], states[0, where])
    assert bool((spans[False] > 0).all())
    assert bool((spans[True] < 0).any())


def test_padding_keeps_a_bijection_of_longer_vectors(pendulum: Splits) -> None:
    _, model = built(pendulum, padding=2)
    assert model.gx.in_shape == (4,)
    x = stack(pendulum.test)["x"].double()
    states = decode(model.double(), encode(model, x[:, None]))
    assert torch.allclose(states[:, 0], torch.cat([x, torch.zeros_like(x)], 1), atol=1e-12)
    assert predict(model, x, torch.tensor([0.1, -0.2, 0.3])).shape == (12, 3, 2)


def test_standardize_and_its_inverse() -> None:
    for shape in ((3,), (2, 4, 4), (1, 4, 4)):
        brick, x = Standardize(shape).double(), 3 + 2 * torch.randn(50, *shape, dtype=torch.float64)
        brick.fit(x)
        z, logdet = brick.forward_and_logdet(x)
        assert abs(float(z.mean())) < 1e-6
        assert float(z.std(correction=0)) == pytest.approx(1, abs=0.05 if shape == (2, 4, 4) else 1e-2)
        assert torch.allclose(brick.inverse(z), x, atol=1e-12)
        expected = torch.linalg.slogdet(torch.func.jacrev(lambda row, of=brick: of(row[None]).flatten())(x[0]).reshape(z[0].numel(), -1))[1]
        assert torch.allclose(logdet[0], expected)


# --- prediction --------------------------------------------------------------------------------------------


def test_one_state_and_many_times(pendulum: Splits) -> None:
    task, model = built(pendulum)
    model = model.double()
    x = stack(pendulum.test)["x"].double()
    times = torch.tensor([-2.0, 0.0, 0.3, 7.0], dtype=torch.float64)
    states = task.predict(model, x, times)
    assert torch.allclose(states[:, 1], x, atol=1e-12)
    assert torch.allclose(task.predict(model, states[:, 2], torch.tensor([6.7], dtype=torch.float64))[:, 0], states[:, 3], atol=1e-10)
    assert torch.allclose(states[:, 2], model.linearizer().expm(0.3)(x), atol=1e-12)
    each = torch.rand(12, 5, dtype=torch.float64)
    assert torch.allclose(task.predict(model, x, each)[4, 2], model.linearizer().expm(float(each[4, 2]))(x[4:5])[0], atol=1e-12)


def test_inputs_are_followed_step_by_step() -> None:
    core = create_core("generator", (2, 2), structure="diagonal", controls=1).double()
    assert isinstance(core, GeneratorCore)
    model = LinearizerModel(Identity((2,)), core)
    x0, control = torch.rand(3, 2, dtype=torch.float64), torch.randn(3, 4, 1, dtype=torch.float64)
    times = torch.rand(3, 4, dtype=torch.float64).sort(1).values
    z = x0
    for number in range(4):
        z = core.drive(z, times[:, number] - (times[:, number - 1] if number else 0), control[:, number])
    assert torch.allclose(predict(model, x0, times, control)[:, -1], z, atol=1e-12)
    with pytest.raises(ShapeMismatchError, match="none is given"):
        rollout(core, x0, times)


def test_a_driven_system_is_trained(tmp_path: Path) -> None:
    data = create_dataset("slow_manifold", **FEW, control=1.0).load()
    task, model = built(data, core={"structure": "dense", "controls": 1})
    loss = task.stages()[0].loss(model, batch_of(task, model, data), torch.Generator().manual_seed(0))["loss"]
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    report = task.evaluate(model.eval(), data, tmp_path)
    assert report.metrics["relative_error_mean"] > 0


# --- the report ---------------------------------------------------------------------------------------------


def test_relative_errors_are_those_of_each_state() -> None:
    true = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    assert relative_errors(true + torch.tensor([0.0, 1.0]), true).tolist() == [[0.2, 0.5]]


def test_published_coordinates_are_an_isometry_up_to_scale_and_shift() -> None:
    true = torch.randn(4, 6, 2)
    assert in_published_coordinates("pendulum", true, true) == {}
    assert in_published_coordinates("koopmanae_pendulum", true, true) == {"lifted_error_mean": 0.0, "lifted_error_last": 0.0}
    small, large = (in_published_coordinates("koopmanae_pendulum", true + step, true)["lifted_error_mean"] for step in (0.01, 0.02))
    assert large == pytest.approx(2 * small, rel=1e-4)


def test_known_spectra() -> None:
    assert known_spectrum("slow_manifold") == [-0.05, -1.0]
    assert known_spectrum("double_well") is None


def test_it_maps_and_does_not_sample(pendulum: Splits) -> None:
    task, model = built(pendulum)
    with pytest.raises(NoSamplesError):
        task.sample(model, 1, torch.Generator())
    assert task.preview(model, pendulum, torch.Generator()) is None


@pytest.fixture(scope="module", params=["pendulum", "double_well", "moving_digit"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run, as `linearizer train` leaves it."""
    from linearizer_core.config import RunConfig
    from linearizer_core.validation import validate

    output = tmp_path_factory.mktemp(request.param)
    small: dict[str, Any] = {"size": 8, "train": 20, "test": 4, "frames": 4, "test_frames": 8} if request.param == "moving_digit" else FEW
    values = {
        "task": {"name": "dynamics", "training": STAGE, "evaluation": {"trajectories": 6}},
        "backbone": SMALL,
        "core": {"name": "generator", "spectrum": "conservative", "frequency_network": 4},
        "data": {"name": request.param, **small},
        "training": {"output": output, "threads": 1, "sample_every": 2},
    }
    train(validate(RunConfig, values))
    return output


def test_a_run_leaves_its_report_and_figures(run: Path) -> None:
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    measured = {name for name, value in report.items() if name not in ("figures", "run")}
    assert measured <= NOTES.keys()
    assert {"prediction_mse", "one_step_relative_mse", "semigroup_max_abs_err", "eigenvalues"} <= measured
    assert report["semigroup_max_abs_err_float64"] < 1e-10
    assert report["backward_max_abs_err_float64"] < 1e-10
    assert ("film.png" in report["figures"]) == ("psnr_db_beyond" in report) == (run / "samples").exists()
    assert ("trajectories.png" in report["figures"]) != ("film.png" in report["figures"])
    assert all(0 < (run / name).stat().st_size < 300_000 for name in report["figures"])
    card = (run / "model" / "README.md").read_text(encoding="utf-8")
    assert "Any time from one state" in card
    assert f"| `eigenvalues` | {figure(report['eigenvalues'])} |" in card


def test_the_saved_model_predicts_as_the_trained_one(run: Path) -> None:
    pretrained = load(f"local-dir:{run}")
    assert isinstance(pretrained.task, DynamicsTask)
    x0 = torch.rand(2, *pretrained.config.data.shape)
    states = pretrained.task.predict(pretrained.model, x0, torch.tensor([-0.5, 0.0, 0.1, 2.0]))
    assert states.shape == (2, 4, *x0.shape[1:])
    assert torch.allclose(states[:, 1], x0, atol=1e-4)


def test_commands(run: Path, tmp_path: Path) -> None:
    frames = "digit" in run.name
    code, out, err = call("dynamics", "spectrum", str(run), "-o", str(tmp_path / "s.png"))
    assert (code, err) == (0, "")
    assert "angular frequency" in out
    assert (tmp_path / "s.png").stat().st_size
    code, out, _ = call("dynamics", "spectrum", str(run), "--json")
    assert len(json.loads(out)) == (64 if frames else 2)

    predicting = call("dynamics", "predict", str(run), "--x0", "1,0.5", "--times=-1:1:0.5")
    filming = call("dynamics", "video", str(run), "1", "--times", "0:1:0.1", "-o", str(tmp_path / "film.gif"))
    if frames:
        assert "use `linearizer dynamics video`" in predicting[2]
        assert "leave it out" in call("dynamics", "spectrum", str(run), "--at", "1,2")[2]
        assert (filming[0], filming[2]) == (0, "")
        with Image.open(tmp_path / "film.gif") as film:
            assert (film.size, film.n_frames) == ((48, 48), 11)
        Image.new("L", (20, 10), 200).save(tmp_path / "grey.png")
        assert call("dynamics", "video", str(run), str(tmp_path / "grey.png"), "--times", "0,0.5", "-o", str(tmp_path / "strip.png"))[0] == 0
        assert "numbered from 0" in call("dynamics", "video", str(run), "99")[2]
        assert "give a file that Pillow decodes" in call("dynamics", "video", str(run), str(tmp_path / "none.png"))[2]
        assert "expected a file name that ends in .gif or .png" in call("dynamics", "video", str(run), "0", "-o", "film.mp4")[2]
        return
    assert "use `linearizer dynamics predict`" in filming[2]
    lines = [line.split() for line in predicting[1].splitlines()]
    assert lines[0] == ["t", "x1", "x2"]
    assert [line[0] for line in lines[1:]] == ["-1", "-0.5", "0", "0.5", "1"]
    assert [float(value) for value in lines[3][1:]] == pytest.approx([1, 0.5], abs=1e-4)
    for name in ("a.csv", "a.png"):
        assert call("dynamics", "predict", str(run), "--x0", "1,0.5", "--times", "0,1", "-o", str(tmp_path / name)) == (0, f"{tmp_path / name}\n", "")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[0] == "t,x1,x2"
    assert call("dynamics", "spectrum", str(run), "--at", "2,0")[1] != call("dynamics", "spectrum", str(run))[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x0", "1", "--times", "0,1"], "state 1: 1 numbers, expected 2"),
        (["--x0", "1,b", "--times", "0,1"], "expected 2 numbers with commas between"),
        (["--x0", "1,2", "--times", "0:1"], "expected START:STOP:STEP, such as 0:10:0.1"),
        (["--x0", "1,2", "--times", "0:1:-0.1"], "do not lead from 0 to 1"),
        (["--x0", "1,2", "--times", "0:1:0"], "change the step"),
        (["--x0", "1,2", "--times", "inf"], "numbers with commas between"),
        (["--x0", "1,2", "--times", "0,1", "-o", "a.txt"], "ends in .csv or .png"),
        (["--x0", "1,2", "--times", "0,1", "-o", "/no/such/folder/a.csv"], "cannot be written"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path: Path, pendulum: Splits) -> None:
    from linearizer_core.pretrained import Pretrained
    from linearizer_core.pretrained.artifact import ArtifactConfig

    task, model = built(pendulum)
    config = ModelConfig(task=Component(name="dynamics"), backbone=Component(**SMALL), core=Component(name="generator"))
    folder = Pretrained(task, model, ArtifactConfig(model=config, data=pendulum.info, seed=0)).save_pretrained(tmp_path / "model")
    code, _, err = call("dynamics", "predict", str(folder), *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_eigenvalues_from_the_structure_are_those_of_the_matrix() -> None:
    blocks = DecayRotation(torch.tensor([-0.1, 0.0]), torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 0.3]))
    assert written(eigenvalues(blocks)) == written(eigenvalues(Dense(blocks.to_dense()))) == "0.3, 0, 0, -0.1 +- 2i, -1"
