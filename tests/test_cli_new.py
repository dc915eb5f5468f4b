"""`linearizer new`: what it prints, what it exits with."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def linearizer_new(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "linearizer_core.cli", "new", *arguments]
    return subprocess.run(command, cwd=cwd, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("into", ["plain", "my $HOME & 'plugins'"])
def test_the_next_steps_are_commands_that_a_shell_reads_back(into: str, tmp_path: Path) -> None:
    (tmp_path / into).mkdir()
    shown = linearizer_new("operator", "two_words", "--into", into, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    first, blank, *steps = shown.stdout.splitlines()
    folder = f"{into}/linearizer-two-words"
    assert first == f"{folder}: operator two_words, which works as it stands; put your own mathematics into linearizer_two_words/core.py"
    assert blank == ""
    assert [shlex.split(step) for step in steps] == [
        ["pip", "install", "-e", folder],
        ["linearizer", "list", "operator"],
        ["linearizer", "check", "two_words"],
        ["linearizer", "train", f"{folder}/train.toml"],
    ]
    assert tomllib.loads((tmp_path / folder / "train.toml").read_text(encoding="utf-8"))["core"] == {"name": "two_words"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("backbon", "swirl"), "error: there is no template for 'backbon'; kinds: backbone, operator, task\n"),
        (("backbone", "swirl", "--into", "nowhere"), "error: nowhere is not a folder; make it first, or choose another one with --into\n"),
        (("backbone", "flow"), "error: a package linearizer_flow is installed already; choose another name\n"),
        (("task", "a" * 300), f"error: linearizer-{'a' * 300} cannot be written: File name too long; choose another name, or another folder with --into\n"),
    ],
)
def test_mistakes_get_one_clear_message(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    shown = linearizer_new(*arguments, cwd=tmp_path)
    assert (shown.returncode, shown.stderr) == (2, message)
    assert not list(tmp_path.iterdir())
