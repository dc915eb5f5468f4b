"""What only separate processes show: kills, several processes, the command line."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_training import run_split, run_tiny, two_stages

from linearizer_core.training import read_metrics

SCRIPT = Path(__file__).with_name("tiny_training.py")
ROOT = Path(__file__).parents[2]


def environment() -> dict[str, str]:
    path = os.pathsep.join([str(ROOT), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}


def weights(output: Path) -> dict[str, torch.Tensor]:
    last = (output / "checkpoints" / "last").read_text().strip()
    return load_file(output / "checkpoints" / last / "model.safetensors")


def test_kill_at_any_moment_and_resume_gives_the_uninterrupted_run(tmp_path: Path) -> None:
    run_tiny(tmp_path / "whole", two_stages(60), checkpoint_every=3, keep_checkpoints=2, log_every=7)
    output, moments = tmp_path / "killed", random.Random(os.urandom(8))
    delays = [moments.uniform(0.0, 0.25) for _ in range(3)]
    kills = 0
    for delay in delays:
        before = _last(output)
        process = subprocess.Popen([sys.executable, str(SCRIPT), str(output), "kill"], env=environment(), stderr=subprocess.PIPE)
        while _last(output) == before and process.poll() is None:
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        kills += process.returncode != 0
    assert kills > 0
    run_tiny(output, two_stages(60), checkpoint_every=3, keep_checkpoints=2, log_every=7)
    expected, found = weights(tmp_path / "whole"), weights(output)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected), f"killed after {delays}"
    assert (output / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert not list((output / "checkpoints").glob(".tmp-*"))


def _last(output: Path) -> str:
    last = output / "checkpoints" / "last"
    return last.read_text() if last.exists() else ""


def test_two_processes_train_like_one(tmp_path: Path) -> None:
    # What `accelerate launch` runs for several GPUs; for several CPU processes it would need MPI.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(SCRIPT), str(tmp_path / "two"), "split"]
    done = subprocess.run(launch, env=environment(), capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "two" / "processes").read_text() == "2"
    # Without noise the number of processes does not matter; with noise, two processes are two micro-batches.
    # Rebuilding activations, on two processes, changes nothing either.
    for name, pieces, folder in (("silent", 1, "two"), ("noise", 2, "two"), ("silent", 1, "two/reversible")):
        run_split(tmp_path / "one", name, accumulation_steps=pieces)
        alone, together = (read_metrics(tmp_path / each / name / "metrics.jsonl") for each in ("one", folder))
        for column in ("loss", "grad_norm", "energy"):
            assert [line[column] for line in together] == pytest.approx([line[column] for line in alone], abs=1e-6), (name, column)
        expected, found = weights(tmp_path / "one" / name), weights(tmp_path / folder / name)
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-6, atol=1e-6)


def test_command_line_reports_a_users_mistake_in_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    command = [sys.executable, "-m", "linearizer_core.training", str(missing), "training.seed=3"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {missing} cannot be read")
    assert "Traceback" not in done.stderr
