"""`linearizer new`: what it writes works, and five commands lead from nothing to a trained linearizer."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from linearizer_core import plugins
from linearizer_core.errors import ConfigError
from linearizer_core.scaffold import FIRST_FILES, PLUGIN_KINDS, PluginKind, new_plugin
from linearizer_core.testing import run_checks, subject_named

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs" / "write-a-backbone.md"


class Machine:
    """A folder with a virtual environment of its own that sees the packages of this one, and no network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder / "venv", symlinks=True)
        self.bin = folder / "venv" / "bin"
        own = Path(subprocess.run([self.bin / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], **_CAPTURE).stdout.strip())
        # Also runs the .pth files of this environment: the framework may be installed in editable mode.
        (own / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n", encoding="utf-8")
        self._launcher("linearizer", "from linearizer_core.cli import main\nmain()")
        self._launcher("pip", "import runpy\nrunpy.run_module('pip', run_name='__main__')")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("LINEARIZER_", "PIP_"))}
        self.environment = {
            **inherited,
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            "LINEARIZER_CACHE": str(folder / "cache"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip reads the negation of the option: 0 switches isolation off
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }

    def _launcher(self, name: str, program: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{self.bin / 'python'}\n{program}\n", encoding="utf-8")
        path.chmod(0o755)

    def run(self, command: str, *, code: int = 0) -> str:
        done = subprocess.run(command, shell=True, cwd=self.folder, env=self.environment, text=True, capture_output=True, check=False)
        assert done.returncode == code, f"$ {command}\n{done.stdout}{done.stderr}"
        return done.stdout


_CAPTURE: dict[str, bool] = {"check": True, "capture_output": True, "text": True}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("author"))


def fences(language: str) -> list[tuple[str, str]]:
    found = re.findall(rf'^```{language}(?: title="([^"]*)")?\n(.*?)^```$', PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [(title, text) for title, text in found]


def test_five_commands_from_nothing_to_a_trained_linearizer(machine: Machine) -> None:
    """The commands of the page, in its order, with the page's own bijection put in after the first of them."""
    commands = [line.removeprefix("$ ") for line in fences("console")[0][1].splitlines()]
    assert len(commands) == 5
    machine.run(commands[0])
    project = machine.folder / "linearizer-swirl"
    files = [(title, text) for title, text in fences("python") if title]
    assert len(files) == 3
    for title, text in files:
        assert (project / title).exists()
        (project / title).write_text(text, encoding="utf-8")
    machine.run(commands[1])
    assert "swirl" in machine.run(commands[2])
    assert "failed" not in machine.run(commands[3])
    machine.run(commands[4])
    report = json.loads((machine.folder / "runs" / "swirl" / "report.json").read_text(encoding="utf-8"))
    assert report["invertibility_max_abs_err"] < 1e-4
    # Far better than noise, which is beyond 400 by this measure: the author's bijection was trained.
    assert report["frechet_one_step"] < 100
    saved = json.loads((machine.folder / "runs" / "swirl" / "model" / "config.json").read_text(encoding="utf-8"))
    assert {"component": "backbone", "distribution": "linearizer-swirl", "version": "0.1.0"} in saved["plugins"]


def test_its_own_test_runs_the_kit_and_catches_a_mistake(machine: Machine) -> None:
    machine.run("linearizer new backbone wobble && pip install -e linearizer-wobble")
    assert " passed" in machine.run("python -m pytest -q -p no:cacheprovider linearizer-wobble")
    brick = machine.folder / "linearizer-wobble" / "linearizer_wobble" / "brick.py"
    right = brick.read_text(encoding="utf-8")
    wrong = right.replace("return z * (-log_slope).exp()", "return z * log_slope.exp()")
    assert wrong != right
    brick.write_text(wrong, encoding="utf-8")
    assert "failed" in machine.run("linearizer check wobble --dtype float64", code=1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("operator", "fading"), ("task", "tidy_up")])
def test_the_other_kinds_pass_the_kit_and_train_by_the_commands_printed(machine: Machine, kind: str, name: str) -> None:
    (machine.folder / "my plugins").mkdir(exist_ok=True)
    printed = machine.run(f"linearizer new {kind} {name} --into 'my plugins'")
    install, show, check, train = [line.strip() for line in printed.splitlines() if line.startswith("  ")]
    machine.run(install)
    assert name in machine.run(show)
    machine.run(check)
    steps = "task.published.training.steps=20" if kind == "operator" else "task.training.steps=20"
    machine.run(f"{train} {steps}")
    assert (machine.folder / "runs" / name / "report.json").exists()


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Make a project known to this process, as an editable installation would."""
    before = set(sys.modules)
    installed: list[str] = []

    def install(project: Path) -> None:
        metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        info = project / f"{project.name.replace('-', '_')}-{metadata['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {metadata['name']}\nVersion: {metadata['version']}\n", encoding="utf-8")
        points = [f"{name} = {module}\n" for name, module in metadata["entry-points"]["linearizer"].items()]
        (info / "entry_points.txt").write_text("".join(["[linearizer]\n", *points]), encoding="utf-8")
        monkeypatch.syspath_prepend(str(project))
        installed.append(project.name.replace("-", "_"))
        importlib.invalidate_caches()
        plugins.reload()

    yield install
    for module in set(sys.modules) - before:
        if module.partition(".")[0] in installed:
            del sys.modules[module]
    plugins.reload()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("backbone", "bijection"),
        ("backbone", "chain"),
        ("backbone", "flatten"),
        ("backbone", "none"),
        ("backbone", "tensor"),
        ("operator", "time_dependent"),
        ("task", "stage"),
    ],
)
def test_the_name_of_something_imported_is_as_good_as_any(kind: PluginKind, name: str, install: Callable[[Path], None], tmp_path: Path) -> None:
    install(new_plugin(kind, name, tmp_path))
    results = run_checks(subject_named(kind, name), dtypes=["float64"])
    assert [result for result in results if result.is_bad] == []
    assert any(result.status == "passed" for result in results)


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_no_name_hides_an_import(kind: PluginKind, tmp_path: Path) -> None:
    """What is named after the plugin ends in words that nothing else imported ends in, so that the two never meet."""
    project = new_plugin(kind, "swirl", tmp_path)
    nodes = [node for path in project.rglob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    defined = {node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    imported = {alias.asname or alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
    endings = {re.sub("(?i)^swirl", "", each) for each in defined if each.lower().startswith("swirl")}
    others = {each for each in imported if not each.lower().startswith("swirl")}
    assert len(endings) >= 2
    assert len(others) >= 5
    assert {(each, ending) for each in others for ending in endings if each != ending and each.endswith(ending)} == set()


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_the_file_to_begin_with_is_there(kind: PluginKind, tmp_path: Path) -> None:
    project = new_plugin(kind, "swirl", tmp_path)
    first = f"linearizer_swirl/{FIRST_FILES[kind]}"
    assert (project / first).is_file()
    assert f"| `{first}` | **start here**" in (project / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", PLUGIN_KINDS)
def test_what_is_written_passes_formatter_and_linter(kind: PluginKind, tmp_path: Path) -> None:
    project = new_plugin(kind, "two_words", tmp_path)
    configuration = ["--config", str(REPOSITORY / "pyproject.toml")]
    for command in (["format", "--check"], ["check", "--config", "lint.isort.known-first-party = ['linearizer_core', 'linearizer_two_words']"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *configuration, str(project)], **_CAPTURE)
    assert not [path for path in project.rglob("*") if path.is_file() and "{{" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("dataset", "mine", "no template for 'dataset'; kinds: backbone, operator, task"),
        ("backbone", "My-Net", "name 'My-Net' is malformed; expected lower-case words joined by _"),
        ("backbone", "coupling", "backbone 'coupling' exists already, in linearizer"),
        ("backbone", "operators", "a package linearizer_operators is installed already"),
        ("backbone", "a" * 240, "a cannot be written: File name too long; choose another name, or another folder with --into"),
        ("backbone", "a" * 300, "a cannot be written: File name too long; choose another name, or another folder with --into"),
    ],
)
def test_what_cannot_be_made_is_refused(kind: PluginKind, name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        new_plugin(kind, name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    new_plugin("backbone", "mine", tmp_path)
    with pytest.raises(ConfigError, match="linearizer-mine exists already"):
        new_plugin("backbone", "mine", tmp_path)
    with pytest.raises(ConfigError, match="is not a folder"):
        new_plugin("backbone", "mine", tmp_path / "nowhere")


def test_templates_travel_in_the_wheel(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    for name in ("linearizer_core", "plugins"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], **_CAPTURE)
    (wheel,) = tmp_path.glob("linearizer-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    templates = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "linearizer_core" / "templates").rglob("*.j2")}
    assert len(templates) > 10
    assert templates <= packed
    assert not any(name.startswith(("plugins/", "tests/", "benchmarks/")) for name in packed)
