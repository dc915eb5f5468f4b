"""The folder of a Space holds all that it needs: it is what it says, and it runs by itself."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from gradio_client import Client
from huggingface_hub import metadata_load
from packaging.requirements import Requirement

from linearizer_core import plugins
from linearizer_core.errors import ArtifactError, ConfigError
from linearizer_core.pretrained import load
from linearizer_demo.space import SpaceModel, build_space, space_models
from linearizer_demo.space.build import MARK, space_files

ROOT = Path(__file__).parents[4]
ONE_STEP = ROOT / "spaces" / "one_step"
_PATIENCE = 120.0


@pytest.fixture(scope="session")
def space(saved: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_space(space_models([saved["first"], saved["second"]]), tmp_path_factory.mktemp("space") / "space", "Two small models")


def test_the_front_matter_is_that_of_a_gradio_space(space: Path) -> None:
    front = metadata_load(space / "README.md")
    assert front == {
        "title": "Two small models",
        "emoji": "📐",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": version("gradio"),
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "suggested_hardware": "cpu-basic",
        "license": "apache-2.0",
        "short_description": "Networks that are exactly linear, to try",
        "tags": ["linearizer", MARK],
    }
    assert len(front["short_description"]) <= 60


@pytest.mark.parametrize("title", ['It\'s "quoted": yes', "{{ 7 * 7 }}", "---", "# no heading"])
def test_any_title_is_a_title(title: str) -> None:
    text = space_files([SpaceModel("m", "hf-hub:org/m@" + 40 * "a", None, ("linearizer-more==1.0",))], title)
    _, front, _ = text["README.md"].split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["title"] == title
    assert values["models"] == ["m"]
    assert "linearizer-more==1.0" in text["requirements.txt"].splitlines()


def test_requirements_are_pinned_to_what_is_installed_here(space: Path) -> None:
    needed = [Requirement(line) for line in (space / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    assert {"torch", "gradio", "huggingface_hub", "pluggy", "safetensors", "scikit-learn"} <= {need.name for need in needed}
    assert "linearizer" not in {need.name for need in needed}
    assert all(need.specifier.contains(version(need.name).partition("+")[0]) and str(need.specifier).startswith("==") for need in needed)


def test_models_are_copied_and_no_others(space: Path, saved: dict[str, str]) -> None:
    assert sorted(path.name for path in (space / "models").iterdir()) == ["first", "second"]
    original = Path(saved["first"].removeprefix("local-dir:"))
    assert {path.name: path.read_bytes() for path in (space / "models" / "first").iterdir()} == {path.name: path.read_bytes() for path in original.iterdir()}
    shipped = space / "vendor" / "linearizer_registry" / "models"
    assert not list(shipped.iterdir())
    assert not list(space.rglob("*.pyc"))


def test_it_runs_by_itself(space: Path, tmp_path: Path) -> None:
    """In another folder, with a clean path: what is imported is what the Space carries, and an endpoint answers."""
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    probe = "import sys; sys.argv = ['app.py']; import runpy; runpy.run_path(sys.path.pop(0), run_name='probe'); import linearizer_core, linearizer_demo; "
    probe += "from linearizer_core import plugins; print(linearizer_core.__file__, linearizer_demo.__file__, ' '.join(plugins.specs('pretrained')) or 'none')"
    found = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(space / 'app.py')!r}); {probe}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=_PATIENCE,
    )
    core, demo, models = found.stdout.split(" ", 2)
    assert Path(core).is_relative_to(space / "vendor")
    assert Path(demo).is_relative_to(space / "vendor")
    assert models.strip() == "none"
    answers(sys.executable, space, port, environment, tmp_path)


@pytest.mark.slow
def test_it_runs_in_a_clean_environment(space: Path, tmp_path: Path) -> None:
    """With nothing installed but its requirements."""
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", space / "requirements.txt"], check=True)
    port = _free_port()
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment = kept | {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    answers(str(python), space, port, environment, tmp_path)


def answers(python: str, space: Path, port: int, environment: dict[str, str], folder: Path) -> None:
    """Start the app of a Space, and ask one of its endpoints."""
    with subprocess.Popen([python, "-P", str(space / "app.py")], cwd=folder, env=environment) as process:
        try:
            _wait_for(f"http://127.0.0.1:{port}/", process)
            client = Client(f"http://127.0.0.1:{port}/", verbose=False)
            assert "/one_step" in str(client.view_api(return_format="dict"))
            answer = client.predict(model="first", seed=3, api_name="/one_step")
            assert "Largest difference of a pixel" in str(answer)
        finally:
            process.terminate()


def test_a_space_that_was_built_there_is_replaced_and_nothing_else_is(saved: dict[str, str], tmp_path: Path) -> None:
    folder, models = tmp_path / "space", space_models([saved["first"]])
    build_space(models, folder, "First")
    (folder / "left over").write_text("")
    build_space(models, folder, "Second")
    assert not (folder / "left over").exists()
    assert metadata_load(folder / "README.md")["title"] == "Second"
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    (other / "README.md").write_text("a thesis on linearizer-space")
    with pytest.raises(ConfigError, match="is no Space of ours"):
        build_space(models, other, "First")
    assert (other / "chapter.tex").read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["space", "thesis"]


@pytest.mark.parametrize("title", ["", "two\nlines", 61 * "x"])
def test_a_title_that_cannot_be(title: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 60 characters"):
        build_space([], tmp_path / "space", title)


def test_two_models_of_one_name(saved: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="two models are called 'first'"):
        space_models([saved["first"], saved["first"].removeprefix("local-dir:")])


def test_a_file_says_nothing_of_what_is_installed(saved: dict[str, str], tmp_path: Path) -> None:
    """Requirements run code when they are installed, and anybody may have written a model's config.json."""
    folder = tmp_path / "forged"
    shutil.copytree(saved["first"].removeprefix("local-dir:"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["plugins"] = [{"component": "task", "distribution": "evil-package", "version": "6.6.6"}]
    (folder / "config.json").write_text(json.dumps(config))
    (model,) = space_models([str(folder)])
    assert model.distributions == ()


def test_a_private_file_does_not_become_part_of_a_space(saved: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "linked"
    shutil.copytree(saved["first"].removeprefix("local-dir:"), folder)
    (tmp_path / "secret").write_text("secret")
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(ArtifactError, match=r"README\.md is a link to .*secret, which is outside"):
        space_models([str(folder)])


def test_the_space_in_this_repository_is_what_is_built() -> None:
    shipped = [SpaceModel(name, name, None, ()) for name in plugins.specs("pretrained")]
    for name, text in space_files(shipped, "Linearizer: one step").items():
        assert (ONE_STEP / name).read_text(encoding="utf-8") == text, f"run: linearizer space build --title 'Linearizer: one step' -o spaces/one_step ({name})"
    assert re.search(r"^    \"flow\.digits\"", (ONE_STEP / "app.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert load("flow.digits").metrics


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        assert process.poll() is None, "the app ended"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"{address} did not answer within {_PATIENCE} s")
