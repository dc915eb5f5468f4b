"""Every table says where it was measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from benchmarks.tools import command
from benchmarks.tools.environment import environment, sentence
from benchmarks.tools.results import Results


def test_the_environment_is_named() -> None:
    facts = environment("cpu", data="nothing", packages=("accelerate", "no-such-package"))
    assert facts["threads"] == torch.get_num_threads()
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)
    assert facts["cpu"]
    assert set(facts["versions"]) == {"python", "torch", "linearizer", "accelerate"}
    text = sentence(facts)
    for part in ("Device: CPU", facts["cpu"], f"{facts['threads']} threads", f"torch {torch.__version__}", "Seed 0", "Data: nothing"):
        assert part in text


@pytest.mark.parametrize("quick", [False, True])
def test_tables_end_with_environment_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], quick: bool) -> None:
    results = Results("one", "python -m benchmarks.one", quick, environment("cpu", data="nothing"), {}, [])
    command.save(results, "cpu", tmp_path, "| a table |")
    text = (tmp_path / "one.md").read_text()
    assert text.startswith("| a table |\n\nDevice: CPU")
    assert "Command: `python -m benchmarks.one`" in text
    assert ("figures mean nothing" in text) is quick
    assert text in capsys.readouterr().out
