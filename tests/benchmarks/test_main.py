"""One command runs them all."""

from __future__ import annotations

import importlib
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.__main__ import NAMES, main


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would run; those of `sampling` fail."""
    commands: list[list[str]] = []

    def run(command: list[str]) -> Any:
        commands.append(command[1:])
        return SimpleNamespace(returncode=int("benchmarks.sampling" in command))

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_all_run_though_one_fails(ran: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--out", str(tmp_path)]) == 1
    assert [command[1] for command in ran] == [f"benchmarks.{name}" for name in NAMES]
    assert all(command[2:] == ["--device", "cpu", "--out", str(tmp_path), "--quick"] for command in ran)
    assert "--- sampling: 0 s, FAILED" in capsys.readouterr().out


def test_some_run_where_they_are_named(ran: list[list[str]]) -> None:
    assert main(["growth"]) == 0
    assert [command[1] for command in ran] == ["benchmarks.growth"]


def test_a_gpu_is_not_asked_what_only_a_cpu_tells(ran: list[list[str]]) -> None:
    main(["--device", "cuda"])
    assert not {"benchmarks.startup", "benchmarks.reversible", "benchmarks.demo"} & {command[1] for command in ran}


def test_an_unknown_name_is_refused(ran: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["colapse"])
    assert (
        "no such benchmark: colapse; there are startup, collapse, tolerance, sampling, training, options, growth, reversible, demo" in capsys.readouterr().err
    )
    assert not ran


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_module_with_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out
