"""What a GPU is asked to do: the committed jobs, and a real training under the same roof, at miniature size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from linearizer_core.config_file import load_config
from linearizer_core.pretrained import Pretrained
from linearizer_core.training.run import train
from linearizer_registry.hooks import _SUMMARIES
from registry.gpu.__main__ import main
from registry.gpu.jobs import FETCH, ROOT, WEIGHTS, Job, Place, Training
from registry.gpu.listed import JOBS
from registry.gpu.schedule import GRACE, Schedule

OVERRIDES = (
    "data.size=8",
    "data.train=100",
    "data.test=10",
    "task.training.steps=80",
    'backbone={name="coupling", levels=[], dense={couplings=2, width=16}}',
    "training.checkpoint_every=10",
    "training.sample_every=0",
)
DIGITS = Training(name="digits", config="dynamics_moving_digit.toml", overrides=OVERRIDES, becomes="dynamics.moving-digit", seconds=300.0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    (tmp_path / "data").mkdir()
    return Place(data=tmp_path / "data", runs=tmp_path / "runs", device="cpu")


@pytest.mark.slow
def test_a_training_stopped_by_the_clock_goes_on_in_the_next_call_and_ends_with_the_same_bits(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    first = place.runs / "digits" / "checkpoints" / "last"
    (stopped,) = Schedule(place, seconds=400.0, at_once=1, clock=lambda: 400.0 if first.exists() else 0.0).run([DIGITS])
    assert stopped.state == "stopped"
    assert not (place.runs / "digits" / "report.json").exists()
    assert DIGITS.rest(place) < DIGITS.seconds
    assert DIGITS.progress(place).startswith("step ")

    arguments = ["--data", str(place.data), "--runs", str(place.runs), "--device", "cpu", "--minutes", "6"]
    assert main(arguments, [DIGITS]) == 0
    resumed = json.loads((place.runs / "digits" / "run.json").read_text())["resumed_from"]
    assert resumed >= 10
    threads = torch.get_num_threads()
    train(load_config(ROOT / "configs" / DIGITS.config, [*OVERRIDES, f"training.output={place.runs / 'whole'}"]))
    torch.set_num_threads(threads)
    model = Path("model") / "model.safetensors"
    assert (place.runs / "digits" / model).read_bytes() == (place.runs / "whole" / model).read_bytes()

    (entry,) = json.loads((place.runs / "summary.json").read_text())["jobs"]
    assert (entry["name"], entry["state"], entry["becomes"]) == ("digits", "done", "dynamics.moving-digit")
    assert entry["steps_per_second"] > 0
    assert entry["in_the_registry"].keys() == entry["measured"].keys() >= {"psnr_db_beyond"}
    registered = Pretrained.from_pretrained(place.models / "dynamics.moving-digit")
    assert registered.config.weights == "float16"
    assert registered.metrics["psnr_db_beyond"] == entry["measured"]["psnr_db_beyond"]
    assert "examples.png" in registered.pictures
    assert registered.config.training is not None
    assert registered.config.training.training["checkpoint_every"] == 10
    assert f"rsync -a --delete {place.models / 'dynamics.moving-digit'} registry/" in capsys.readouterr().out


def test_a_failed_training_is_in_the_summary_and_in_the_exit_code(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Training(name="broken", config=str(tmp_path / "none.toml"), seconds=30.0)
    absent = Training(name="absent", config="flow_mnist_small.toml", data="mnist", seconds=30.0)
    assert main(["--data", str(place.data), "--runs", str(place.runs), "--device", "cpu"], [broken, absent]) == 1
    entries = json.loads((place.runs / "summary.json").read_text())["jobs"]
    assert [each["state"] for each in entries] == ["failed", "left out"]
    assert "none.toml" in entries[0]["why"]
    assert "| broken | failed |" in capsys.readouterr().out


def test_the_list_is_told_without_running(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(place.data), "--runs", str(place.runs), "--list", "--only", "flow_mnist_small", "bench_options"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"flow_mnist_small: about 570 s; missing {place.data / 'mnist'}: the four idx files")
    assert second == "bench_options: about 120 s"
    assert not place.runs.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "flow_mnits"], "no such job: flow_mnits; there are flow_mnist_small, "),
        (["--data", "nowhere"], "--data nowhere is no folder; give the one that holds mnist, cifar10"),
        ([], "torch sees no GPU here; give --device cpu"),
    ],
)
def test_what_cannot_be_run_is_refused(
    place: Place, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--data", str(place.data), *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("job", [job for job in JOBS if isinstance(job, Training)], ids=lambda job: job.name)
def test_a_committed_training_is_a_valid_run_of_a_model_that_the_registry_knows(job: Training, place: Place) -> None:
    train_step, *_ = job.steps(place)
    config = load_config(train_step.arguments[2], train_step.arguments[3:])
    assert config.training.output == place.runs / job.name
    assert job.features == (WEIGHTS in config.model_dump_json())
    assert job.becomes is None or job.becomes in _SUMMARIES
    assert job.becomes is None or job.becomes.partition(".")[0] == config.task.name


def test_the_committed_jobs_fit_into_25_minutes_on_a_gpu_shared_by_five_and_repeats_come_last() -> None:
    """As long as they take what they are expected to: a simulation, without the repetitions with other seeds."""
    assert len({job.name for job in JOBS}) == len(JOBS)
    assert {need for job in JOBS for need in job.needs} == FETCH.keys()
    seeds = [job for job in JOBS if "_seed" in job.name]
    assert list(JOBS[-len(seeds) :]) == seeds
    assert ends(JOBS[: -len(seeds)]) < 25 * 60 - GRACE
    assert max(job.seconds for job in JOBS) < 10 * 60 - GRACE


def ends(jobs: tuple[Job, ...], at_once: int = 5) -> float:
    """When the last one is over, where each takes what is expected."""
    free = [0.0] * at_once
    over: dict[str, float] = {}
    for job in jobs:
        begun = max([max(free) if job.alone else min(free), *(over[before.name] for before in job.after)])
        over[job.name] = begun + job.seconds
        free.remove(min(free))
        free = [over[job.name]] * at_once if job.alone else [*free, over[job.name]]
    return max(free)
