"""A Hub on this machine, a cache of its own, and a saved model to send."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from unittest import mock

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

sys.path.insert(0, str(Path(__file__).parent))

from hub_server import TOKEN, Command, HubServer

from linearizer_core.cli import main
from linearizer_core.config import CollapseConfig, Component, ModelConfig
from linearizer_core.data import DataInfo
from linearizer_core.factory import build_model
from linearizer_core.pretrained import Pretrained
from linearizer_core.pretrained.artifact import ArtifactConfig


@pytest.fixture(scope="session")
def model() -> Pretrained:
    """A flow with all that a saved model may have: an operator, a report of its collapse, a picture, metrics, a training log."""
    dense = {"couplings": 2, "width": 6}
    info = DataInfo(name="squares", shape=(1, 4, 4), classes=3)
    config = ModelConfig(
        task=Component(name="flow", latent_prior={"prior": {"backbone": {"name": "coupling", "dense": dense}}}),
        backbone=Component(name="coupling", levels=[], dense=dense),
        core=Component(name="gaussian", rank=4),
    )
    task, network = build_model(config, info)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    pretrained = Pretrained(task, network.eval(), ArtifactConfig(model=config, data=info, seed=7))
    return replace(
        pretrained.collapsed(CollapseConfig(steps=4)), metrics={"psnr": 31.5}, log=({"step": 1, "stage": "flow", "stage_step": 1, "lr": 0.1, "loss": 2.0},)
    )


@pytest.fixture
def folder(model: Pretrained, tmp_path: Path) -> Path:
    return model.save_pretrained(tmp_path / "saved")


@pytest.fixture
def contents(folder: Path) -> dict[str, bytes]:
    """The files of the saved model by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "hf"


@pytest.fixture
def hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """What HF_ENDPOINT and HF_HOME would set if huggingface_hub had not been imported already; in subprocesses they do (`linearizer`)."""
    with HubServer() as server:
        for name, value in {
            "ENDPOINT": server.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def logged_in(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)


@pytest.fixture
def linearizer() -> Command:
    """``linearizer`` with these arguments, in this process."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        out, err, code = io.StringIO(), io.StringIO(), 0
        with mock.patch.object(sys, "argv", ["linearizer", *arguments]), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def start(hub: HubServer, home: Path) -> Callable[..., subprocess.Popen[str]]:
    """The same in a process of its own, with the Hub in its environment."""

    def run(*arguments: str, **more: str) -> subprocess.Popen[str]:
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-m", "linearizer_core.cli", *arguments]
        return subprocess.Popen(command, env={**os.environ, **environment, **more}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return run
