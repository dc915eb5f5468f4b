"""The example plugin, built and installed as a third party would, and used from a process that knows it only by its entry point."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
EXAMPLE = REPOSITORY / "examples" / "linearizer_sinh"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, so that building leaves nothing in the repository."""
    return Path(shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "plugin"))


@pytest.fixture(scope="module")
def environment(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has the example installed, in a folder of its own, without network."""
    site = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True, capture_output=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINEARIZER_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join([str(site), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}


def run(environment: dict[str, str], *arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed(environment: dict[str, str]) -> None:
    listed = json.loads(run(environment, "-m", "linearizer_core.cli", "list", "backbone", "--json"))
    entry = next(entry for entry in listed if entry["name"] == "sinh")
    assert (entry["plugin"], entry["distribution"], entry["version"]) == ("sinh", "linearizer-sinh", "0.1.0")
    loaded = json.loads(run(environment, "-m", "linearizer_core.cli", "plugins", "--json"))
    assert [(status["state"], status["reason"]) for status in loaded if status["name"] == "sinh"] == [("loaded", "")]


def test_it_is_described(environment: dict[str, str]) -> None:
    (described,) = json.loads(run(environment, "-m", "linearizer_core.cli", "describe", "sinh", "--json"))
    assert {row["key"]: row["default"] for row in described["options"]} == {"layers": 4, "tail_bound": 0.5, "seed": 0}


def test_the_program_in_its_readme_runs(environment: dict[str, str], tmp_path: Path) -> None:
    readme = (EXAMPLE / "README.md").read_text()
    program = readme.split("```python\n")[1].split("```")[0]
    run(environment, "-c", program, cwd=tmp_path)


def test_its_own_tests_pass(environment: dict[str, str], source: Path) -> None:
    passed = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=source)
    assert " passed" in passed


def test_its_options_are_checked_in_a_run_configuration(environment: dict[str, str]) -> None:
    program = """
from linearizer_core.config import Component
from linearizer_core import plugins
from linearizer_core.errors import ConfigError
from linearizer_core.validation import validate
try:
    validate(plugins.find("backbone", "sinh").load_config(), Component(name="sinh", layer=2).options, prefix="backbone.")
except ConfigError as error:
    print(error)
"""
    assert run(environment, "-c", program).startswith("backbone.layer = 2: unknown key; did you mean 'layers'?")


def test_trains_by_name_from_a_configuration(environment: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "sinh.toml"
    config.write_text(
        """
        data = { name = "digits" }
        core = { name = "gaussian", rank = 8 }
        backbone = { name = "sinh", layers = 2 }
        [task]
        name = "flow"
        [task.latent_prior]
        reconstruction = { steps = 10, batch_size = 64, warmup_steps = 0 }
        prior = { steps = 3, batch_size = 32 }
        [task.evaluation]
        samples = 100
        [training]
        output = "run"
        """,
        encoding="utf-8",
    )
    run({**environment, "LINEARIZER_CACHE": str(tmp_path / "cache")}, "-m", "linearizer_core.training", str(config), cwd=tmp_path)
    saved = json.loads((tmp_path / "run" / "model" / "config.json").read_text(encoding="utf-8"))
    assert saved["model"]["backbone"] == {"name": "sinh", "layers": 2}
    assert {"component": "backbone", "distribution": "linearizer-sinh", "version": "0.1.0"} in saved["plugins"]
    program = "from linearizer_core.pretrained import load; print(tuple(load('local-dir:run').sample(2, label=1).shape))"
    assert run(environment, "-c", program, cwd=tmp_path).strip() == "(2, 1, 8, 8)"
    # Without the plugin the saved model says which distribution is missing.
    bare = {name: value for name, value in environment.items() if name != "PYTHONPATH"}
    refused = subprocess.run(
        [sys.executable, "-c", program], env={**bare, "PYTHONPATH": str(REPOSITORY)}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "linearizer-sinh" in refused.stderr
