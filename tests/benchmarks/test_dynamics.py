"""The tables of the benchmark, from reports that are at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dynamics import DEEP_KOOPMAN, MOVES, SYSTEMS, main
from linearizer_core.config_file import load_config

ROOT = Path(__file__).parents[2]


def report(error: float) -> dict[str, Any]:
    measures = ("prediction_mse_30", "one_step_relative_mse", "latent_relative_mse", "relative_error_mean", "relative_error_last", "semigroup_max_abs_err")
    more = ("backward_max_abs_err", "invertibility_max_abs_err", "lifted_error_mean", "lifted_error_last")
    run = {"seed": 0, "hardware": {"cpu_cores": 2, "name": "a machine"}, "versions": {"torch": "2.14"}}
    return {**dict.fromkeys((*measures, *more), error), "train_seconds": 12.0, "eigenvalues": "0 +- 2i", "run": run}


def test_finished_runs_are_read_and_put_beside_published_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("pendulum", "slow_manifold", "koopmanae_pendulum")):
        (tmp_path / f"dynamics_{name}").mkdir()
        (tmp_path / f"dynamics_{name}" / "report.json").write_text(json.dumps(report(10.0**-number)))
    main(["slow_manifold", "pendulum", "koopmanae_pendulum", "--runs", str(tmp_path), "--out", str(tmp_path / "results")])
    text = (tmp_path / "results" / "dynamics.md").read_text()
    assert text in capsys.readouterr().out + "\n"
    assert "| slow_manifold | 0.1 | 4.38e-07 | 0.1 | 1.16e-06 | 0.1 | 12 |\n| pendulum | 1 | 2.66e-05 |" in text
    assert "| ours, from 2 coordinates | 0.01 | 0.01 |" in text
    assert "2 CPU cores (a machine)" in text
    assert json.loads((tmp_path / "results" / "dynamics.json").read_text())["cases"][1]["train_seconds"] == 12.0


@pytest.mark.parametrize("name", [*SYSTEMS, *MOVES])
def test_every_system_has_its_configuration(name: str) -> None:
    assert load_config(ROOT / "configs" / f"dynamics_{name}.toml").task.name == "dynamics"


def test_published_figures_belong_to_systems() -> None:
    assert set(DEEP_KOOPMAN) < set(SYSTEMS)


def test_a_wrong_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pendulums"])
    assert "no such run: pendulums; there are slow_manifold" in capsys.readouterr().err
