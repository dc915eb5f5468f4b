"""The commands that train, sample and measure, as a user runs them."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from linearizer_core.cli import main

REPOSITORY = Path(__file__).parent.parent
SAVED = ("config.json", "model.safetensors", "operator.safetensors", "metrics.json", "README.md")
SHORT = [
    "task.latent_prior.reconstruction.steps=6",
    "task.latent_prior.prior.steps=6",
    "task.evaluation.samples=100",
    "training.sample_every=6",
    "training.checkpoint_every=4",
]


def call(module: str, *arguments: str, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LINEARIZER_CACHE": str(cache or cwd / "cache")}
    return subprocess.run([sys.executable, "-m", module, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def linearizer(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return call("linearizer_core.cli", *arguments, cwd=cwd)


def at_once(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process: to import torch takes longer than most commands."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    environment = mock.patch.dict(os.environ, {"LINEARIZER_CACHE": str(cwd / "cache")})
    with chdir(cwd), environment, mock.patch.object(sys, "argv", ["linearizer", *arguments]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the quickstart ran, shortened."""
    folder = tmp_path_factory.mktemp("work")
    done = linearizer("train", str(REPOSITORY / "configs" / "quickstart.toml"), *SHORT, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "one_step_vs_loop_rel_err_euler" in done.stdout
    return folder


def test_training_leaves_everything_that_quickstart_promises(work: Path) -> None:
    run = work / "runs" / "quickstart"
    for name in ("samples.png", "interpolation.png", "inversion.png", "samples/000006.png", "samples/000012.png"):
        with Image.open(run / name) as picture:
            picture.verify()
    pictures = {"examples.png", "samples.png", "interpolation.png", "inversion.png", "singular_values.png", "training.png"}
    assert {*SAVED, *pictures, "collapse.json", "notes.json", "training.jsonl"} == {path.name for path in (run / "model").iterdir()}
    card = (run / "model" / "README.md").read_text()
    assert card.index("](samples.png)") < card.index("](interpolation.png)") < card.index("](examples.png)") < card.index("## Use")
    assert card.index("## Training") < card.index("](training.png)") < card.index("linearizer train config.toml")
    report = json.loads((run / "report.json").read_text())
    assert {
        "one_step_vs_loop_rel_err_euler", "one_step_vs_loop_rel_err_rk4", "invertibility_max_abs_err", "superposition_rel_err", "idempotency_max_abs_err",
        "frechet_one_step", "frechet_test_floor", "frechet_noise", "features", "inversion_psnr_db", "collapse_seconds", "one_step_seconds", "loop_seconds",
        "train_seconds", "parameters",
    } <= report.keys()  # fmt: skip
    assert report["train_seconds"] == pytest.approx(sum(report["run"]["seconds"].values()))
    assert json.loads((run / "model" / "metrics.json").read_text())["parameters"] == report["parameters"]


def test_running_again_trains_nothing_more(work: Path) -> None:
    before = (work / "runs" / "quickstart" / "model" / "model.safetensors").read_bytes()
    done = linearizer("train", str(REPOSITORY / "configs" / "quickstart.toml"), *SHORT, cwd=work)
    assert done.returncode == 0, done.stderr
    assert (work / "runs" / "quickstart" / "model" / "model.safetensors").read_bytes() == before


def test_sample_writes_a_grid(work: Path) -> None:
    options = ["--n", "9", "--label", "3", "--temperature", "0.9", "--seed", "4"]
    for steps, name in (("1", "one.png"), ("100", "many.png"), ("1", "again.png")):
        done = linearizer("sample", "runs/quickstart", "--steps", steps, *options, "-o", name, cwd=work)
        assert done.returncode == 0, done.stderr
    with Image.open(work / "one.png") as picture:
        assert picture.size == (3 * 10 + 2, 3 * 10 + 2)
    assert (work / "one.png").read_bytes() == (work / "again.png").read_bytes()
    assert (work / "one.png").read_bytes() != (work / "many.png").read_bytes()


def test_collapse_makes_another_operator_and_reports_it(work: Path) -> None:
    options = ["--steps", "20", "--solver", "rk4", "--terminal", "early"]
    done = at_once("collapse", "runs/quickstart", *options, "-o", "finer", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "error_vs_loop_float64" in done.stdout
    assert "The flow ends at t = 0.95: B is invertible, with a condition number of" in done.stdout
    assert "Metrics of the former operator are left out" in done.stdout
    report = json.loads((work / "finer" / "collapse.json").read_text())
    assert (report["solver"], report["steps"], report["dim"]) == ("rk4", 19, 64)
    assert report["error_vs_loop_float64"] < 1e-6
    assert json.loads((work / "finer" / "metrics.json").read_text()) == {}
    for name in ("training.jsonl", "training.png"):
        assert (work / "finer" / name).read_bytes() == (work / "runs" / "quickstart" / "model" / name).read_bytes()
    with Image.open(work / "finer" / "singular_values.png") as picture:
        picture.verify()
    for model, name in (("finer", "new.png"), ("runs/quickstart", "old.png")):
        assert at_once("sample", model, "--n", "4", "--label", "1", "-o", name, cwd=work).returncode == 0
    assert (work / "new.png").read_bytes() != (work / "old.png").read_bytes()
    again = at_once("sample", "runs/quickstart", "--n", "4", "--label", "1", "--solver", "rk4", "-o", "fresh.png", cwd=work)
    assert again.returncode == 0, again.stderr
    in_place = at_once("collapse", "finer", "--rank", "3", "--terminal", "limit", "--json", cwd=work)
    assert in_place.returncode == 0, in_place.stderr
    assert json.loads(in_place.stdout)["truncated_to"] == 3
    kept = json.loads((work / "finer" / "collapse.json").read_text())
    assert (kept["rank"], kept["solver"], kept["steps"]) == (3, "rk4", 20)  # what is not named stays
    fresh = at_once("collapse", "finer", "--fresh", "--json", cwd=work)
    assert fresh.returncode == 0, fresh.stderr
    assert (json.loads(fresh.stdout)["solver"], json.loads(fresh.stdout)["truncated_to"]) == ("exact", None)
    assert not (work / "runs" / "quickstart" / "finer").exists()


def test_a_run_is_measured_with_the_operator_that_was_made_last(work: Path) -> None:
    shutil.copytree(work / "runs" / "quickstart", work / "runs" / "other")
    done = at_once("collapse", "runs/other", "--rank", "2", cwd=work)
    assert done.returncode == 0, done.stderr
    assert json.loads((work / "runs" / "other" / "model" / "collapse.json").read_text())["rank"] == 2
    assert at_once("eval", "runs/other", cwd=work).returncode == 0
    before, after = (json.loads((work / "runs" / name / "report.json").read_text()) for name in ("quickstart", "other"))
    assert after["rank"] == 2 < before["rank"]
    assert after["inversion_psnr_db"] < before["inversion_psnr_db"]
    assert json.loads((work / "runs" / "other" / "model" / "metrics.json").read_text())["rank"] == 2


def test_eval_measures_the_saved_model_again(work: Path) -> None:
    path = work / "runs" / "quickstart" / "report.json"
    before = json.loads(path.read_text())
    path.unlink()
    done = at_once("eval", "runs/quickstart", cwd=work)
    assert done.returncode == 0, done.stderr
    after = json.loads(path.read_text())
    for name in ("frechet_one_step", "invertibility_max_abs_err", "inversion_psnr_db", "train_seconds"):
        assert after[name] == pytest.approx(before[name], rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sample", "runs/nowhere"], "local-dir:"),
        (["sample", "runs/quickstart", "--label", "12"], "label = 12"),
        (["sample", "runs/quickstart", "-o", "grid.gif"], ".png"),
        (["sample", "runs/quickstart", "--n", "1", "-o", "runs/quickstart/config.toml/grid.png"], "cannot be written"),
        (["sample", "runs/quickstart", "--steps", "5", "--solver", "rk5"], "rk5"),
        (["collapse", "runs/quickstart", "--steps", "1"], "steps = 1"),
        (["collapse", "runs/quickstart", "--terminal", "soon"], "terminal = 'soon'"),
        (["collapse", "runs/quickstart", "--tol", "0"], "tol = 0"),
        (["collapse", "runs/quickstart", "--solver", "rk5"], "rk5"),
        (["collapse", "runs/quickstart", "--solver", "rk4", "--terminal", "last_step"], "use the terminal rule 'limit'"),
        (["collapse", "flow.nowhere"], "add -o FOLDER"),
        (["collapse", "runs/quickstart", "-o", "runs"], "is not a saved linearizer"),
        (["sample", "runs/quickstart", "--steps", "5", "--rank", "3"], "leave one of the two out"),
        (["sample", "runs/quickstart", "--rank", "300"], "expected a rank from 0 to 64"),
        (["eval", "runs"], "config.toml"),
        (["eval", "runs/quickstart", "task.evaluation.samples=7"], "only data.*"),
        (["train", "nowhere.toml"], "nowhere.toml"),
        (["train", str(REPOSITORY / "configs" / "quickstart.toml"), "training.sede=3"], "did you mean 'seed'"),
        (["train", str(REPOSITORY / "configs" / "quickstart.toml"), "training.seed=3"], "another configuration"),
        (["train", str(REPOSITORY / "configs" / "flow_mnist.toml"), "data.root=nowhere"], "set data.root"),
        (["train", str(REPOSITORY / "configs" / "flow_mnist.toml")], "data.root is missing"),
    ],
)
def test_mistakes_get_one_clear_message(work: Path, arguments: list[str], expected: str) -> None:
    done = (linearizer if arguments[0] == "train" else at_once)(*arguments, cwd=work)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_damaged_model_is_refused(work: Path) -> None:
    shutil.copytree(work / "runs" / "quickstart" / "model", work / "damaged")
    weights = work / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    done = at_once("sample", "damaged", cwd=work)
    assert done.returncode == 2
    assert "truncated" in done.stderr


@pytest.mark.parametrize("processes", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_accelerate_launch(processes: int, tmp_path: Path, work: Path) -> None:
    launcher = ["--config_file", str(REPOSITORY / "configs" / "accelerate" / "two_processes.yaml")] if processes == 2 else ["--cpu"]
    training = ["linearizer_core.training", str(REPOSITORY / "configs" / "quickstart.toml"), *SHORT, "training.output=run"]
    done = call("accelerate.commands.launch", *launcher, "-m", *training, cwd=tmp_path, cache=work / "cache")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["processes"] == processes
    # As many examples a step, whatever the number of processes: the same course of the loss, to rounding and the noise of each process.
    first = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    one = [json.loads(line)["loss"] for line in (work / "runs" / "quickstart" / "metrics.jsonl").read_text().splitlines()]
    assert first == pytest.approx(one, rel=0.05)


@pytest.mark.parametrize("module", ["linearizer_core.cli", "linearizer_core.training.__main__"])
def test_missing_extra_is_named(module: str, tmp_path: Path) -> None:
    program = f"import sys; sys.modules['accelerate'] = None; from {module} import main; sys.exit(main())"
    arguments = ["train"] if module.endswith("cli") else []
    config = str(REPOSITORY / "configs" / "quickstart.toml")
    done = subprocess.run([sys.executable, "-c", program, *arguments, config], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("pip install 'linearizer[train]'")
    assert "Traceback" not in done.stderr
